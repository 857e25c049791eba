//! docs/suites.vectors: signatures and ciphertexts that another implementation made.

use std::collections::HashMap;

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::private::PrivateKey;
use super::{KemKey, KeyError, verify};
use crate::certificate::Facts;

type Section = HashMap<String, String>;

/// The sections whose title begins with `kind`, in order.
fn sections(kind: &str) -> Vec<Section> {
    let text = include_str!("../../../docs/suites.vectors");
    let of_kind = text.split("\n[").map(|section| section.trim_start_matches('[')).filter(|it| it.starts_with(kind));
    of_kind.map(section).collect()
}

fn section(text: &str) -> Section {
    let (mut values, mut current) = (Section::new(), "");
    for line in text.lines().skip(1) {
        let value = match line.split_once(" =") {
            Some((name, value)) => {
                current = name;
                value
            }
            None => line,
        };
        values.entry(current.to_owned()).or_default().push_str(value.trim());
    }
    values
}

fn bytes(section: &Section, name: &str) -> Vec<u8> {
    let text = section.get(name).unwrap_or_else(|| panic!("no {name}"));
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// What `identity` decrypts, by its KEM key where its suite uses one.
fn open(identity: &Section, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if identity["suite"].contains("hpke") {
        return KemKey::known(bytes(identity, "kem_key"), bytes(identity, "kem_secret")).open(label, sealed);
    }
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes(identity, "private_key")));
    let kind = Facts::read(&bytes(identity, "certificate")).unwrap().key;
    PrivateKey::read(&der, kind).unwrap().decrypt_oaep(sealed, label)
}

#[test]
fn signatures_of_every_suite_verify_over_their_message_only() {
    let (identities, mut signed) = (sections("identity"), Vec::new());
    for (n, run) in sections("run").iter().enumerate() {
        let (initiator, responder) = (&identities[n], &identities[(n + 1) % identities.len()]);
        signed.push((initiator, bytes(run, "m1"), bytes(run, "sig_I")));
        signed.push((responder, bytes(run, "m2"), bytes(run, "sig_R")));
    }
    for identity in identities.iter().filter(|identity| identity.contains_key("K")) {
        signed.push((identity, bytes(identity, "K"), bytes(identity, "kem_signature")));
    }
    assert_eq!(signed.len(), 2 * 5 + 4);
    for (signer, mut message, signature) in signed {
        let leaf = bytes(signer, "certificate");
        assert_eq!(verify(&leaf, &message, &signature), Ok(()), "{}", signer["suite"]);
        message[70] ^= 1;
        assert_eq!(verify(&leaf, &message, &signature), Err(KeyError::Refused), "{}", signer["suite"]);
    }
}

#[test]
fn ciphertexts_of_every_suite_open_under_their_label_only() {
    let identities = sections("identity");
    let runs = sections("run");
    assert_eq!(runs.len(), 5);
    for (n, run) in runs.iter().enumerate() {
        let (initiator, responder) = (&identities[n], &identities[(n + 1) % identities.len()]);
        for (to, label, sealed, key) in
            [(responder, "request_label", "ct_I", "K_I"), (initiator, "response_label", "ct_R", "K_R")]
        {
            let (label, sealed) = (bytes(run, label), bytes(run, sealed));
            assert_eq!(*open(to, &label, &sealed).unwrap(), bytes(run, key), "{}", to["suite"]);
            assert_eq!(open(to, &label[..31], &sealed), Err(KeyError::Refused), "{}", to["suite"]);
        }
    }
}
