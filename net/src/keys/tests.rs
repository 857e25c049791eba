//! Signatures and sealing across all kinds of keys, and what files load.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{KeyPair, KeyUsagePurpose};

use super::{DomainKey, FileKey, KeyError, LoadError, seal_oaep, verify};
use crate::testing::{Authority, Issued, Leaf, keys, rsa_2048};

const MESSAGE: &[u8] = b"thirty-two bytes are enough here";

fn issue(key: KeyPair) -> Issued {
    Authority::new().issue(&Leaf::new("saramago.lit").with_key(key))
}

#[test]
fn what_a_key_signs_its_certificate_verifies() {
    for (kind, key) in keys() {
        let issued = issue(key);
        let signature = issued.key().sign(MESSAGE).unwrap();
        assert_eq!(verify(&issued.chain[0], MESSAGE, &signature), Ok(()), "{kind:?}");
    }
}

#[test]
fn another_message_or_signature_is_refused() {
    for (kind, key) in keys() {
        let issued = issue(key);
        let mut signature = issued.key().sign(MESSAGE).unwrap();
        assert_eq!(verify(&issued.chain[0], b"other", &signature), Err(KeyError::Refused), "{kind:?}");
        *signature.last_mut().unwrap() ^= 1;
        assert_eq!(verify(&issued.chain[0], MESSAGE, &signature), Err(KeyError::Refused), "{kind:?}");
        assert_eq!(verify(&issued.chain[0], MESSAGE, &[]), Err(KeyError::Refused), "{kind:?}");
    }
}

#[test]
fn no_key_signs_for_another() {
    let issued: Vec<_> = keys().into_iter().chain(keys()).map(|(_, key)| issue(key)).collect();
    for (signer, of) in issued.iter().enumerate() {
        let signature = of.key().sign(MESSAGE).unwrap();
        for (verifier, other) in issued.iter().enumerate() {
            let verdict = verify(&other.chain[0], MESSAGE, &signature);
            assert_eq!(verdict.is_ok(), signer == verifier, "{signer} for {verifier}");
        }
    }
}

#[test]
fn pss_with_another_salt_and_pkcs1_are_refused() {
    use aws_lc_rs::rsa::RsaPssSaltLength;
    use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
    static SALT_OF_20: aws_lc_rs::signature::RsaSignatureEncoding =
        RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(20));
    let key = rsa_2048();
    let pair = aws_lc_rs::rsa::KeyPair::from_pkcs8(key.serialized_der()).unwrap();
    let issued = issue(key);
    let sign = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &aws_lc_rs::rand::SystemRandom::new(), MESSAGE, &mut signature).unwrap();
        verify(&issued.chain[0], MESSAGE, &signature)
    };
    assert_eq!(sign(&RSA_PSS_SHA256), Ok(()));
    assert_eq!(sign(&SALT_OF_20), Err(KeyError::Refused));
    assert_eq!(sign(&RSA_PKCS1_SHA256), Err(KeyError::Refused));
}

#[test]
fn oaep_opens_with_the_label_it_was_sealed_with() {
    let issued = issue(rsa_2048());
    let label = [0xff; 32];
    let sealed = seal_oaep(&issued.chain[0], &label, MESSAGE).unwrap();
    assert_eq!(sealed.len(), 256);
    assert_eq!(*issued.key().decrypt_oaep(&sealed, &label).unwrap(), MESSAGE);
}

#[test]
fn oaep_refuses_another_label_another_key_and_changes_alike() {
    let issued = issue(rsa_2048());
    let sealed = seal_oaep(&issued.chain[0], b"label", MESSAGE).unwrap();
    assert_eq!(issued.key().decrypt_oaep(&sealed, b"other"), Err(KeyError::Refused));
    assert_eq!(issue(rsa_2048()).key().decrypt_oaep(&sealed, b"label"), Err(KeyError::Refused));
    assert_eq!(issued.key().decrypt_oaep(&sealed[1..], b"label"), Err(KeyError::Refused));
    let mut changed = sealed;
    changed[100] ^= 1;
    assert_eq!(issued.key().decrypt_oaep(&changed, b"label"), Err(KeyError::Refused));
}

#[test]
fn oaep_takes_the_longest_plaintext_and_no_byte_more() {
    let leaf = &issue(rsa_2048()).chain[0];
    assert!(seal_oaep(leaf, b"label", &[0; 190]).is_ok());
    assert_eq!(seal_oaep(leaf, b"label", &[0; 191]), Err(KeyError::TooLong(191)));
}

#[test]
fn what_is_not_rsa_cannot_encrypt() {
    let issued = issue(KeyPair::generate().unwrap());
    assert_eq!(seal_oaep(&issued.chain[0], b"label", MESSAGE), Err(KeyError::NotRsa));
    assert_eq!(issued.key().decrypt_oaep(&[0; 256], b"label"), Err(KeyError::NotRsa));
}

#[test]
fn a_certificate_that_is_none_verifies_nothing() {
    assert!(matches!(verify(b"junk", MESSAGE, b"junk"), Err(KeyError::Certificate(_))));
    let weak = Authority::new().issue_rsa("saramago.lit", 1024);
    assert!(matches!(verify(&weak, MESSAGE, &[0; 128]), Err(KeyError::Certificate(_))));
}

#[test]
fn a_folder_as_certbot_writes_it_loads() {
    let issued = issue(KeyPair::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fullchain.pem"), &issued.chain_pem).unwrap();
    std::fs::write(folder.path().join("privkey.pem"), &issued.key_pem).unwrap();
    let key = FileKey::load(folder.path()).unwrap();
    assert_eq!(key.chain(), issued.chain);
    assert_eq!(key.facts().names, ["saramago.lit"]);
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = FileKey::load(folder.path()).unwrap_err();
    assert!(error.to_string().contains("fullchain.pem: "), "{error}");
}

#[test]
fn pkcs1_loads() {
    let key = rsa_2048();
    let pkcs1 = {
        use rsa::pkcs1::EncodeRsaPrivateKey as _;
        use rsa::pkcs8::DecodePrivateKey as _;
        let private = rsa::RsaPrivateKey::from_pkcs8_der(key.serialized_der()).unwrap();
        private.to_pkcs1_pem(rsa::pkcs8::LineEnding::LF).unwrap()
    };
    let issued = issue(key);
    let loaded = FileKey::from_pem(issued.chain_pem.as_bytes(), pkcs1.as_bytes()).unwrap();
    let sealed = seal_oaep(&issued.chain[0], b"label", MESSAGE).unwrap();
    assert_eq!(*loaded.decrypt_oaep(&sealed, b"label").unwrap(), MESSAGE);
    assert_eq!(verify(&issued.chain[0], MESSAGE, &loaded.sign(MESSAGE).unwrap()), Ok(()));
}

#[test]
fn sec1_loads_behind_its_parameters() {
    let key = KeyPair::generate().unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.serialized_der()).unwrap();
    let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    let issued = issue(key);
    // What `openssl ecparam -genkey` writes: the curve's OID, then the key.
    let pem =
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}", sec1(der.as_ref()));
    let loaded = FileKey::from_pem(issued.chain_pem.as_bytes(), pem.as_bytes()).unwrap();
    assert_eq!(verify(&issued.chain[0], MESSAGE, &loaded.sign(MESSAGE).unwrap()), Ok(()));
}

fn sec1(der: &[u8]) -> String {
    use rsa::pkcs8::der::pem::{LineEnding, encode_string};
    encode_string("EC PRIVATE KEY", LineEnding::LF, der).unwrap()
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (issue(KeyPair::generate().unwrap()), issue(KeyPair::generate().unwrap()));
    let error = FileKey::from_pem(one.chain_pem.as_bytes(), other.key_pem.as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::Mismatch { .. }), "{error}");
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let (one, other) = (issue(KeyPair::generate().unwrap()), issue(rsa_2048()));
    let error = FileKey::from_pem(one.chain_pem.as_bytes(), other.key_pem.as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::Key { .. }), "{error}");
}

#[test]
fn an_encrypted_key_is_named_as_such() {
    let issued = issue(KeyPair::generate().unwrap());
    let pem = issued.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let error = FileKey::from_pem(issued.chain_pem.as_bytes(), pem.as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::EncryptedKey(_)), "{error}");
}

#[test]
fn files_without_certificate_or_key_are_told_apart() {
    let issued = issue(KeyPair::generate().unwrap());
    let error = FileKey::from_pem(b"", issued.key_pem.as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::NoCertificate(_)), "{error}");
    let error = FileKey::from_pem(issued.chain_pem.as_bytes(), b"").unwrap_err();
    assert!(matches!(error, LoadError::NoKey(_)), "{error}");
}

#[test]
fn a_certificate_that_may_not_sign_does_not_load() {
    let leaf = Leaf::new("saramago.lit").with_usage(KeyUsagePurpose::KeyEncipherment);
    let issued = Authority::new().issue(&leaf);
    let error = FileKey::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::MayNotSign(_)), "{error}");
}

#[test]
fn a_chain_of_seven_does_not_load() {
    let issued = issue(KeyPair::generate().unwrap());
    let error = FileKey::from_pem(issued.chain_pem.repeat(4).as_bytes(), issued.key_pem.as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::ChainTooLong(_)), "{error}");
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", issue(rsa_2048()).key());
    assert_eq!(shown, r#"FileKey { names: ["saramago.lit"], key: an RSA private key, .. }"#);
}
