//! A domain of the scripted host: its certificate, its keys, and what it does with them.

use std::sync::Arc;

use heteronym::demo::authority::Issued;
use heteronym_net::certificate::{Facts, KeyType as NetKeyType, fingerprint};
use heteronym_net::clock::Now;
use heteronym_net::keys::{self, DomainKey, KemKey};
use heteronym_proto::crypto::{ActivationKey, CryptoOp};
use heteronym_proto::identity::{Identity, KEM_LIFE, KemOffer, OwnIdentity, PeerIdentity, PeerKem};
use heteronym_proto::name::Name;
use heteronym_proto::suite::{CertificateFacts, KeyType, Suite};

/// A domain that can prove itself, or show what it should not.
pub(crate) struct Domain {
    key: Arc<dyn DomainKey>,
    kem: KemKey,
    host: Name,
    /// What it shows.
    pub(crate) own: OwnIdentity,
}

impl Domain {
    /// `domain`, which `host` serves, with a certificate that may be for anybody.
    pub(crate) fn new(domain: Name, host: Name, issued: &Issued) -> Self {
        Self::with_key(domain, host, issued.key().unwrap())
    }

    /// The same with a key that shows whatever it likes.
    pub(crate) fn with_key(domain: Name, host: Name, key: Arc<dyn DomainKey>) -> Self {
        let kem = KemKey::generate();
        let certificate = CertificateFacts { fingerprint: fingerprint(&key.chain()[0]), ..facts(key.facts()) };
        let suite = Suite::of(&certificate).unwrap();
        let identity = Identity { domain, chain: key.chain().to_vec(), kem: None };
        let own = OwnIdentity { identity, certificate, suite, kem: None, former_kems: Vec::new() };
        let mut domain = Self { key, kem, host, own };
        if suite.uses_kem() {
            let unix = Now::read().unix;
            domain.offer_kem(unix, unix + KEM_LIFE);
        }
        domain
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Name {
        &self.own.identity.domain
    }

    /// The host that serves it.
    pub(crate) fn host(&self) -> &Name {
        &self.host
    }

    /// Another hand on the same key.
    pub(crate) fn twin(&self) -> Self {
        let (key, kem) = (Arc::clone(&self.key), KemKey::generate());
        Self { key, kem, host: self.host.clone(), own: self.own.clone() }
    }

    /// Shows a KEM key with these dates from now on.
    pub(crate) fn offer_kem(&mut self, not_before: u64, not_after: u64) {
        let key = self.kem.public().to_vec();
        let mut offer = KemOffer { not_before, not_after, key, signature: Vec::new() };
        let OwnIdentity { identity: Identity { domain, .. }, certificate, .. } = &self.own;
        let message = offer.statement(domain, &self.host, &certificate.fingerprint).to_bytes();
        offer.signature = self.key.sign(&message).unwrap();
        let hash = offer.statement(domain, &self.host, &certificate.fingerprint).hash(&offer.signature);
        self.own.kem = Some(hash);
        self.own.identity.kem = Some(offer);
    }

    /// Makes another KEM key, which it shows from now on.
    pub(crate) fn renew_kem(&mut self) {
        self.kem = KemKey::generate();
        let unix = Now::read().unix;
        self.offer_kem(unix, unix + KEM_LIFE);
    }

    /// The signature that `op` asks for.
    pub(crate) fn sign(&self, op: CryptoOp) -> Vec<u8> {
        let CryptoOp::Sign { message, .. } = op else { panic!("expected something to sign: {op:?}") };
        self.key.sign(&message).unwrap()
    }

    /// The ciphertext that `op` asks for.
    pub(crate) fn seal(&self, op: CryptoOp) -> Vec<u8> {
        let CryptoOp::Seal { to, label, key } = op else { panic!("expected something to seal: {op:?}") };
        match &to.kem {
            Some(kem) if to.suite.uses_kem() => keys::seal_kem(&kem.key, &label, key.as_slice()).unwrap(),
            Some(_) | None => keys::seal_oaep(&to.chain[0], &label, key.as_slice()).unwrap(),
        }
    }

    /// The key in the ciphertext that `op` holds.
    pub(crate) fn open(&self, op: CryptoOp) -> ActivationKey {
        let CryptoOp::Open { kem, label, ciphertext, .. } = op else { panic!("expected something to open: {op:?}") };
        let opened = match kem {
            Some(_) => self.kem.open(&label, &ciphertext),
            None => self.key.decrypt_oaep(&ciphertext, &label),
        };
        let mut key = ActivationKey::new([0; 32]);
        key.copy_from_slice(&opened.unwrap());
        key
    }
}

/// Whether the signature that `op` asks about holds.
pub(crate) fn verifies(op: CryptoOp) -> bool {
    let CryptoOp::Verify { signer, message, signature } = op else { panic!("expected something to verify: {op:?}") };
    keys::verify(&signer.chain[0], &message, &signature).is_ok()
}

/// What `host` showed of one of its domains. A test knows whom it talks to: the chain is not judged.
pub(crate) fn shown(identity: &Identity, host: &Name) -> PeerIdentity {
    let certificate = facts(&Facts::read(&identity.chain[0]).unwrap());
    let kem = identity.kem.as_ref().map(|offer| {
        let statement = offer.statement(&identity.domain, host, &certificate.fingerprint);
        assert!(keys::verify(&identity.chain[0], &statement.to_bytes(), &offer.signature).is_ok(), "the KEM key");
        PeerKem { key: offer.key.clone(), hash: statement.hash(&offer.signature), not_after: offer.not_after }
    });
    let suite = Suite::of(&certificate).unwrap();
    let (domain, chain) = (identity.domain.clone(), identity.chain.clone());
    PeerIdentity { domain, chain, certificate, suite, kem }
}

fn facts(read: &Facts) -> CertificateFacts {
    let key = match read.key {
        NetKeyType::Rsa { .. } => KeyType::Rsa,
        NetKeyType::P256 => KeyType::P256,
        NetKeyType::P384 => KeyType::P384,
        NetKeyType::Ed25519 => KeyType::Ed25519,
    };
    CertificateFacts {
        fingerprint: read.fingerprint,
        not_before: read.not_before,
        not_after: read.not_after,
        key,
        may_sign: read.may_sign,
        may_encipher: read.may_encipher,
    }
}
