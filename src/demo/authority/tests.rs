//! What is issued, as the router judges it.

use std::os::unix::fs::PermissionsExt as _;

use heteronym_net::certificate::KeyType;
use heteronym_net::clock::Now;
use heteronym_net::trust::Roots;

use super::*;

/// Whether `authority`'s root vouches for `key` as `name`.
fn trusted(authority: &Authority, key: &dyn DomainKey, name: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    fs::write(&file, authority.root_pem()).unwrap();
    Roots::from_pem_files(&[file]).unwrap().check(key.chain(), name, Now::read().unix).is_ok()
}

#[test]
fn every_kind_of_key_is_trusted_for_its_names() {
    let authority = Authority::new("Fernando").unwrap();
    let kinds = [
        (KeyKind::Rsa2048, KeyType::Rsa { bits: 2048 }),
        (KeyKind::P256, KeyType::P256),
        (KeyKind::P384, KeyType::P384),
        (KeyKind::Ed25519, KeyType::Ed25519),
    ];
    for (kind, expected) in kinds {
        let key = authority.issue(&Request::new(["pessoa.lit", "*.pessoa.lit"], kind)).unwrap().key().unwrap();
        assert_eq!(key.facts().key, expected);
        assert_eq!(key.chain().len(), 2);
        assert!(trusted(&authority, &*key, "pessoa.lit") && trusted(&authority, &*key, "chat.pessoa.lit"));
        assert!(!trusted(&authority, &*key, "reis.lit"));
    }
}

#[test]
fn another_root_does_not_vouch_for_it() {
    let (mine, other) = (Authority::new("Fernando").unwrap(), Authority::new("Fernando").unwrap());
    let key = mine.issue(&Request::new(["pessoa.lit"], KeyKind::P256)).unwrap().key().unwrap();
    assert!(!trusted(&other, &*key, "pessoa.lit"));
}

#[test]
fn what_deviates_is_not_trusted() {
    let authority = Authority::new("Fernando").unwrap();
    let usual = Request::new(["pessoa.lit"], KeyKind::P256);
    let now = Now::read().unix;
    let expired = Request { not_before: Some(now - 20), not_after: Some(now - 10), ..usual.clone() };
    let early = Request { not_before: Some(now + 3600), ..usual.clone() };
    let client = Request { extended: ExtendedKeyUsage::ClientAuth, ..usual.clone() };
    for request in [expired, early, client] {
        let key = authority.issue(&request).unwrap().key().unwrap();
        assert!(!trusted(&authority, &*key, "pessoa.lit"), "{request:?}");
    }
    let mute = Request { key_usage: KeyUsage::Encipherment, ..usual };
    assert!(matches!(authority.issue(&mute).unwrap().key(), Err(LoadError::MayNotSign(_))));
}

#[test]
fn an_rsa_key_may_be_encrypted_to_where_that_is_asked_for() {
    let authority = Authority::new("Fernando").unwrap();
    let key = KeyMaterial::generate(KeyKind::Rsa2048).unwrap();
    let usual = Request::new(["pessoa.lit"], KeyKind::Rsa2048);
    let both = Request { key_usage: KeyUsage::SignatureAndEncipherment, ..usual.clone() };
    let may = |request: &Request| authority.issue_with(request, &key).unwrap().key().unwrap().facts().may_encipher;
    assert!(!may(&usual) && may(&both), "one key, two certificates");
}

#[test]
fn what_is_written_is_loaded_and_the_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Fernando").unwrap();
    let issued = authority.issue(&Request::new(["pessoa.lit"], KeyKind::P256)).unwrap();
    issued.write(&folder.path().join("pessoa.lit")).unwrap();
    let loaded = FileKey::load(&folder.path().join("pessoa.lit")).unwrap();
    assert_eq!(loaded.chain(), issued.key().unwrap().chain());
    let mode = fs::metadata(folder.path().join("pessoa.lit/privkey.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_name_that_is_not_ascii_is_refused() {
    let authority = Authority::new("Fernando").unwrap();
    let refused = authority.issue(&Request::new(["joão.lit"], KeyKind::P256));
    assert!(matches!(refused, Err(AuthorityError::Certificate { .. })));
}
