//! The table of verdicts.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::{Roots, RootsError, Untrusted};
use crate::certificate::CertificateError;
use crate::testing::{Authority, Leaf, SRV_NAME, XMPP_ADDRESS};

const NOW: u64 = 1_790_000_000;
const NAME: &str = "saramago.lit";

fn roots(authority: &Authority) -> Roots {
    roots_of(&authority.root_pem)
}

fn roots_of(pem: &str) -> Roots {
    Roots::from_pem_files(&[pem_file(pem).to_path_buf()]).unwrap()
}

fn pem_file(pem: &str) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file.into_temp_path()
}

/// The same roots as if they were the system's.
fn public(roots: &Roots) -> Roots {
    Roots { anchors: Arc::clone(&roots.anchors), public: roots.anchors.len() }
}

fn verdict(leaf: Leaf) -> Result<(), Untrusted> {
    let authority = Authority::new();
    roots(&authority).check(&authority.issue(&leaf).chain, NAME, NOW)
}

#[test]
fn a_server_certificate_of_the_name_is_trusted() {
    assert_eq!(verdict(Leaf::new(NAME)), Ok(()));
}

#[test]
fn key_usage_with_digital_signature_is_trusted() {
    assert_eq!(verdict(Leaf::new(NAME).with_usage(KeyUsagePurpose::DigitalSignature)), Ok(()));
}

#[test]
fn key_usage_without_digital_signature_is_not() {
    assert_eq!(verdict(Leaf::new(NAME).with_usage(KeyUsagePurpose::KeyEncipherment)), Err(Untrusted::KeyUsage));
}

#[test]
fn a_certificate_without_extended_key_usage_is_trusted() {
    assert_eq!(verdict(Leaf::new(NAME).for_purposes(&[])), Ok(()));
}

#[test]
fn a_client_certificate_is_not() {
    let leaf = Leaf::new(NAME).for_purposes(&[ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(verdict(leaf), Err(Untrusted::Purpose));
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let authority = Authority::new();
    let chain = authority.issue(&Leaf::new("*.saramago.lit")).chain;
    let check = |name| roots(&authority).check(&chain, name, NOW);
    assert_eq!(check("chat.saramago.lit"), Ok(()));
    assert!(matches!(check("a.chat.saramago.lit"), Err(Untrusted::WrongName { .. })));
    assert!(matches!(check(NAME), Err(Untrusted::WrongName { .. })));
}

#[test]
fn a_wrong_name_is_told_with_those_it_has() {
    let error = verdict(Leaf::new("pessoa.lit").and_name("camoes.lit")).unwrap_err();
    assert_eq!(error.to_string(), "certificate is for pessoa.lit, camoes.lit; not for saramago.lit");
}

#[test]
fn what_is_no_dns_name_is_never_proved() {
    let authority = Authority::new();
    let chain = authority.issue(&Leaf::new(NAME)).chain;
    for name in ["", "127.0.0.1", "::1", "sara mago.lit", "*.saramago.lit"] {
        let verdict = roots(&authority).check(&chain, name, NOW);
        assert!(matches!(verdict, Err(Untrusted::WrongName { .. })), "{name}: {verdict:?}");
    }
}

#[test]
fn an_expired_certificate_tells_when() {
    let leaf = Leaf::new(NAME).valid(1_700_000_000, 1_789_999_999);
    assert_eq!(verdict(leaf), Err(Untrusted::Expired { not_after: 1_789_999_999 }));
}

#[test]
fn a_certificate_of_tomorrow_tells_when() {
    let leaf = Leaf::new(NAME).valid(1_790_000_001, 1_800_000_000);
    assert_eq!(verdict(leaf), Err(Untrusted::NotYetValid { not_before: 1_790_000_001 }));
}

#[test]
fn the_first_and_the_last_second_count() {
    assert_eq!(verdict(Leaf::new(NAME).valid(1_790_000_000, 1_790_000_000)), Ok(()));
}

#[test]
fn an_unknown_root_is_told() {
    let chain = Authority::new().issue(&Leaf::new(NAME)).chain;
    let error = roots(&Authority::named("Other Root")).check(&chain, NAME, NOW).unwrap_err();
    assert_eq!(error, Untrusted::UnknownIssuer { issuer: "CN=Test Root".to_owned(), alone: false });
}

#[test]
fn a_self_signed_certificate_is_told_as_such() {
    let (der, _) = Leaf::new(NAME).self_signed();
    assert_eq!(roots(&Authority::new()).check(&[der], NAME, NOW), Err(Untrusted::SelfSigned));
}

#[test]
fn a_self_signed_certificate_is_trusted_where_it_is_a_root() {
    let (der, pem) = Leaf::new(NAME).self_signed();
    assert_eq!(roots_of(&pem).check(&[der], NAME, NOW), Ok(()));
}

#[test]
fn an_authoritys_certificate_is_no_servers() {
    let (der, pem) = Leaf::new(NAME).of_authority().self_signed();
    assert_eq!(roots_of(&pem).check(&[der], NAME, NOW), Err(Untrusted::Authority));
}

/// Every form of XMPP's own, with no dNSName beside it.
fn xmpp_leaves(domain: &str) -> [Leaf; 2] {
    [
        Leaf::nameless().with_other_name(XMPP_ADDRESS, 0x0c, domain),
        Leaf::nameless().with_other_name(SRV_NAME, 0x16, &format!("_xmpp-server.{domain}")),
    ]
}

#[test]
fn xmpps_own_names_count_under_a_configured_root() {
    let authority = Authority::new();
    let configured = roots(&authority);
    let besides = public(&roots(&Authority::named("Public Root")))
        .with_extra(&[pem_file(&authority.root_pem).to_path_buf()])
        .unwrap();
    for leaf in xmpp_leaves(NAME) {
        let chain = authority.issue(&leaf).chain;
        assert_eq!(configured.check(&chain, NAME, NOW), Ok(()));
        assert_eq!(besides.check(&chain, NAME, NOW), Ok(()));
    }
}

#[test]
fn xmpps_own_names_do_not_count_under_a_public_root() {
    let authority = Authority::new();
    let public = public(&roots(&authority));
    let besides = public.with_extra(&[pem_file(&Authority::named("Private Root").root_pem).to_path_buf()]).unwrap();
    for leaf in xmpp_leaves(NAME) {
        let chain = authority.issue(&leaf).chain;
        for roots in [&public, &besides] {
            assert_eq!(roots.check(&chain, NAME, NOW), Err(Untrusted::XmppNameOfPublicRoot));
        }
    }
    assert_eq!(public.check(&authority.issue(&Leaf::new(NAME)).chain, NAME, NOW), Ok(()), "a dNSName does");
}

#[test]
fn xmpps_own_names_prove_no_other_domain() {
    let authority = Authority::new();
    for leaf in xmpp_leaves("pessoa.lit") {
        let error = roots(&authority).check(&authority.issue(&leaf).chain, NAME, NOW).unwrap_err();
        assert_eq!(error.to_string(), "certificate is for pessoa.lit; not for saramago.lit");
    }
}

#[test]
fn xmpps_own_names_of_an_unknown_root_are_not_trusted() {
    let other = roots(&Authority::named("Other Root"));
    for leaf in xmpp_leaves(NAME) {
        let error = other.check(&Authority::new().issue(&leaf).chain, NAME, NOW).unwrap_err();
        assert!(matches!(error, Untrusted::UnknownIssuer { .. }), "{error}");
    }
}

/// Name constraints speak of DNS names: they would not hold an authority back that writes others.
#[test]
fn xmpps_own_names_of_an_authority_with_name_constraints_do_not_count() {
    let authority = Authority::constrained("pessoa.lit");
    let roots = roots(&authority);
    for leaf in xmpp_leaves(NAME) {
        let verdict = roots.check(&authority.issue(&leaf).chain, NAME, NOW);
        assert_eq!(verdict, Err(Untrusted::XmppNameUnderConstraints));
    }
    assert_eq!(roots.check(&authority.issue(&Leaf::new("pessoa.lit")).chain, "pessoa.lit", NOW), Ok(()));
}

#[test]
fn a_root_of_the_same_name_and_another_key_is_told() {
    let chain = Authority::new().issue(&Leaf::new(NAME)).chain;
    assert_eq!(roots(&Authority::new()).check(&chain, NAME, NOW), Err(Untrusted::Signature));
}

#[test]
fn a_missing_intermediate_is_hinted_at() {
    let authority = Authority::new();
    let chain = &authority.issue(&Leaf::new(NAME)).chain[..1];
    let error = roots(&authority).check(chain, NAME, NOW).unwrap_err();
    let words = "signed by CN=Test Intermediate, which leads to no trusted root; \
                 the intermediate certificate is missing (fullchain.pem)";
    assert_eq!(error.to_string(), words);
}

#[test]
fn rsa_that_is_too_short_or_costs_too_much_is_not_trusted() {
    let authority = Authority::new();
    for size in [1024, 4104, 8192, 16_384] {
        let chain = [authority.issue_rsa(NAME, size)];
        match roots(&authority).check(&chain, NAME, NOW) {
            Err(Untrusted::Leaf(CertificateError::Rsa { bits, .. })) => assert_eq!(bits, size),
            other => panic!("{size}: {other:?}"),
        }
    }
}

#[test]
fn no_chain_too_long_a_chain_and_too_large_a_certificate_are_not_looked_at() {
    let authority = Authority::new();
    let roots = roots(&authority);
    let mut chain = authority.issue(&Leaf::new(NAME)).chain;
    assert_eq!(roots.check(&[], NAME, NOW), Err(Untrusted::Missing));
    chain.push(vec![0; 16 * 1024 + 1]);
    assert_eq!(roots.check(&chain, NAME, NOW), Err(Untrusted::TooLarge(16 * 1024 + 1)));
    chain.resize(7, Vec::new());
    assert_eq!(roots.check(&chain, NAME, NOW), Err(Untrusted::TooLong(7)));
}

#[test]
fn junk_is_not_trusted_and_does_no_harm() {
    let authority = Authority::new();
    let chain = authority.issue(&Leaf::new(NAME)).chain;
    let roots = roots(&authority);
    assert!(matches!(roots.check(&[b"junk".to_vec()], NAME, NOW), Err(Untrusted::Leaf(_))));
    for at in (0..chain[1].len()).step_by(7) {
        let mut changed = chain.clone();
        changed[1][at] ^= 0xff;
        assert!(roots.check(&changed, NAME, NOW).is_err(), "byte {at} of the intermediate");
    }
}

#[test]
fn a_leaf_whose_signature_was_changed_is_not_trusted() {
    let authority = Authority::new();
    let mut chain = authority.issue(&Leaf::new(NAME)).chain;
    *chain[0].last_mut().unwrap() ^= 1;
    assert!(roots(&authority).check(&chain, NAME, NOW).is_err());
}

#[test]
fn extra_roots_are_trusted_besides() {
    let (one, other) = (Authority::new(), Authority::new());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(other.root_pem.as_bytes()).unwrap();
    let both = roots(&one).with_extra(&[file.path().to_owned()]).unwrap();
    for authority in [&one, &other] {
        assert_eq!(both.check(&authority.issue(&Leaf::new(NAME)).chain, NAME, NOW), Ok(()));
    }
}

#[test]
fn a_file_without_roots_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Roots::from_pem_files(&[file.path().to_owned()]).err().unwrap();
    assert!(matches!(error, RootsError::NoneInFile(_)), "{error}");
    let error = Roots::from_pem_files(&["does/not/exist.pem".into()]).err().unwrap();
    assert!(error.to_string().starts_with("cannot read does/not/exist.pem: "), "{error}");
}
