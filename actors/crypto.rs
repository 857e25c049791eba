//! Crypto: signatures, encryption and chains, off the I/O threads.
//!
//! No actor, but threads that end with the last of those who ask. Whoever asks is bounded, and takes turns
//! with all others (`pool`).

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use heteronym_net::certificate::{Facts, KeyType as NetKeyType, date};
use heteronym_net::keys::{self, DomainKey};
use heteronym_net::random;
use heteronym_net::trust::Roots;
use heteronym_proto::crypto::{ActivationKey, CryptoOp, CryptoResult};
use heteronym_proto::domain_pair::{DomainPair, PairAction};
use heteronym_proto::identity::{Identity, KemOffer, OwnIdentity, PeerIdentity, PeerKem};
use heteronym_proto::name::Name;
use heteronym_proto::suite::{CertificateFacts, Fingerprint, KeyType, Suite};

use crate::metrics::Metrics;

mod kem_keys;
mod pool;

use kem_keys::{KemKeys, Shown};
use pool::Pool;
pub use pool::{Asker, Unperformed};

/// A domain's key, or why it has none.
pub type KeyOf = Result<Arc<dyn DomainKey>, String>;

/// Keys and roots, shared by the pool.
pub struct KeyRing {
    held: RwLock<Held>,
    kems: KemKeys,
}

/// What a reload replaces.
struct Held {
    domains: HashMap<Name, KeyOf>,
    roots: Roots,
}

impl KeyRing {
    /// The keys of all hosted domains, and the roots that peers are judged by.
    #[must_use]
    pub fn new(host: Name, domains: HashMap<Name, KeyOf>, roots: Roots) -> Self {
        Self { held: RwLock::new(Held { domains, roots }), kems: KemKeys::new(host) }
    }

    /// Other keys and roots from now on.
    pub fn replace(&self, domains: HashMap<Name, KeyOf>, roots: Roots) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held { domains, roots };
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Cloning is cheap.
#[derive(Clone)]
pub struct Crypto {
    pool: Pool<KeyRing>,
    metrics: Arc<Metrics>,
}

impl Crypto {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start(threads: usize, ring: Arc<KeyRing>, metrics: Arc<Metrics>) -> io::Result<Self> {
        Ok(Self { pool: Pool::start(threads, ring)?, metrics })
    }

    /// Performs one operation of the protocol, on this account.
    pub fn perform(
        &self,
        asker: &Asker,
        op: CryptoOp,
    ) -> impl Future<Output = Result<CryptoResult, Unperformed>> + use<> {
        counted(Arc::clone(&self.metrics), self.pool.perform(asker, op.bytes(), move |ring| ring.perform(op)))
    }

    /// Performs one operation of a run and what follows from it, in one turn: the run, and what it wants then.
    pub fn compute<D>(
        &self,
        asker: &Asker,
        mut run: Box<DomainPair>,
        op: CryptoOp,
        delegates: D,
    ) -> impl Future<Output = Result<(Box<DomainPair>, Option<PairAction>), Unperformed>> + use<D>
    where
        D: Fn(&Name) -> bool + Send + 'static,
    {
        let metrics = Arc::clone(&self.metrics);
        let computed = self.pool.perform(asker, op.bytes(), move |ring| {
            let perform = |op| {
                let result = ring.perform(op);
                metrics.crypto_operation("done");
                result
            };
            let wanted = run.compute(op, perform, delegates);
            (run, wanted)
        });
        let metrics = Arc::clone(&self.metrics);
        async move { computed.await.inspect_err(|unperformed| count(&metrics, *unperformed)) }
    }

    /// Judges the certificate chain (DER, leaf first) of a peer host or a server: until when it is good for
    /// `name`, Unix seconds, or why it is not.
    pub async fn judge_chain(&self, asker: Asker, chain: Vec<Vec<u8>>, name: Name) -> Result<u64, String> {
        let bytes = chain.iter().map(Vec::len).sum();
        let judged = self.pool.perform(&asker, bytes, move |ring| ring.judge_host(&chain, &name));
        counted(Arc::clone(&self.metrics), judged).await.unwrap_or_else(|unperformed| Err(unperformed.to_string()))
    }

    /// Operations that wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

async fn counted<T>(
    metrics: Arc<Metrics>,
    performed: impl Future<Output = Result<T, Unperformed>>,
) -> Result<T, Unperformed> {
    let result = performed.await;
    match &result {
        Ok(_) => metrics.crypto_operation("done"),
        Err(unperformed) => count(&metrics, *unperformed),
    }
    result
}

fn count(metrics: &Metrics, unperformed: Unperformed) {
    metrics.crypto_operation(match unperformed {
        Unperformed::Overloaded => "refused",
        Unperformed::Broken => "failed",
    });
}

impl KeyRing {
    fn perform(&self, op: CryptoOp) -> CryptoResult {
        match op {
            CryptoOp::OwnIdentity { domain } => {
                let show = |key: &dyn DomainKey, unix| self.kems.show(&domain, key, unix);
                CryptoResult::OwnIdentity(self.own_identity(&domain, show).map(Arc::new))
            }
            CryptoOp::CheckIdentity { identity, host } => {
                CryptoResult::CheckIdentity(self.check_identity(identity, &host).map(Arc::new))
            }
            CryptoOp::Sign { domain, message } => {
                CryptoResult::Sign(self.key(&domain).ok().and_then(|key| key.sign(&message).ok()))
            }
            CryptoOp::Verify { signer, message, signature } => {
                let leaf = signer.chain.first();
                CryptoResult::Verify(leaf.is_some_and(|leaf| keys::verify(leaf, &message, &signature).is_ok()))
            }
            CryptoOp::Seal { to, label, key } => CryptoResult::Seal(seal(&to, &label, &key)),
            CryptoOp::Open { domain, kem, label, ciphertext } => {
                CryptoResult::Open(self.open(&domain, kem, &label, &ciphertext))
            }
        }
    }

    fn judge(&self, chain: &[Vec<u8>], name: &Name) -> Result<(), String> {
        let roots = self.held().roots.clone();
        roots.check(chain, name.as_str(), crate::now().unix).map_err(|untrusted| untrusted.to_string())
    }

    fn judge_host(&self, chain: &[Vec<u8>], name: &Name) -> Result<u64, String> {
        self.judge(chain, name)?;
        let leaf = chain.first().ok_or("the chain is empty")?;
        Facts::read(leaf).map(|leaf| leaf.not_after).map_err(|error| error.to_string())
    }

    fn key(&self, domain: &Name) -> KeyOf {
        match self.held().domains.get(domain) {
            Some(key) => key.clone(),
            None => Err(format!("{domain} is not hosted here")),
        }
    }

    /// One of our domains, as [`CryptoOp::OwnIdentity`] shows it, where nothing has to be made or waited for.
    #[must_use]
    pub fn own_identity_at_hand(&self, domain: &Name) -> Option<Arc<OwnIdentity>> {
        let show = |key: &dyn DomainKey, unix| self.kems.show_current(domain, key, unix).ok_or_else(String::new);
        self.own_identity(domain, show).ok().map(Arc::new)
    }

    fn own_identity(
        &self,
        domain: &Name,
        show: impl FnOnce(&dyn DomainKey, u64) -> Shown,
    ) -> Result<OwnIdentity, String> {
        let key = self.key(domain)?;
        let certificate = facts(key.facts());
        let unix = crate::now().unix;
        if unix < certificate.not_before || certificate.not_after <= unix {
            let (from, until) = (date(certificate.not_before), date(certificate.not_after));
            return Err(format!("the certificate of {domain} is valid from {from} to {until} only: renew it"));
        }
        let suite = Suite::of(&certificate)
            .ok_or_else(|| format!("the keyUsage of the certificate of {domain} forbids to sign"))?;
        let mut identity = Identity { domain: domain.clone(), chain: key.chain().to_vec(), kem: None };
        if !suite.uses_kem() {
            return Ok(OwnIdentity { identity, certificate, suite, kem: None, former_kems: Vec::new() });
        }
        let (kem, former_kems) = show(key.as_ref(), unix)?;
        identity.kem = Some(kem.offer.clone());
        Ok(OwnIdentity { identity, certificate, suite, kem: Some(kem.hash), former_kems })
    }

    fn check_identity(&self, identity: Identity, host: &Name) -> Result<PeerIdentity, String> {
        let Identity { domain, chain, kem } = identity;
        self.judge(&chain, &domain)?;
        let leaf = chain.first().ok_or("the chain is empty")?;
        let read = Facts::read(leaf).map_err(|error| format!("the certificate of {domain}: {error}"))?;
        let certificate = facts(&read);
        // Its last second is good for TLS (RFC 5280), but no activation could begin in it.
        if certificate.not_after <= crate::now().unix {
            return Err(format!("certificate expired at {}", date(certificate.not_after)));
        }
        let suite = Suite::of(&certificate)
            .ok_or_else(|| format!("the keyUsage of the certificate of {domain} forbids to sign"))?;
        let kem = match kem.filter(|_| suite.uses_kem()) {
            Some(offer) => Some(check_kem(&offer, &domain, host, leaf, &certificate)?),
            None if suite.uses_kem() => return Err(format!("{domain} shows no KEM key, which its suite needs")),
            None => None,
        };
        Ok(PeerIdentity { domain, chain, certificate, suite, kem })
    }

    fn open(&self, domain: &Name, kem: Option<Fingerprint>, label: &[u8], ciphertext: &[u8]) -> Option<ActivationKey> {
        let opened = match kem {
            None => self.key(domain).ok()?.decrypt_oaep(ciphertext, label).ok()?,
            Some(hash) => self.kems.open(domain, &hash, label, ciphertext)?,
        };
        let mut key = ActivationKey::new([0; 32]);
        (opened.len() == key.len()).then(|| key.copy_from_slice(&opened))?;
        Some(key)
    }
}

fn check_kem(
    offer: &KemOffer,
    domain: &Name,
    host: &Name,
    leaf: &[u8],
    certificate: &CertificateFacts,
) -> Result<PeerKem, String> {
    if !offer.is_current(crate::now().unix) {
        return Err(format!("the KEM key of {domain} is not valid now"));
    }
    let statement = offer.statement(domain, host, &certificate.fingerprint);
    keys::verify(leaf, &statement.to_bytes(), &offer.signature)
        .map_err(|_| format!("the KEM key of {domain} is not signed by its certificate's key for host {host}"))?;
    let (hash, key, not_after) = (statement.hash(&offer.signature), offer.key.clone(), offer.not_after);
    Ok(PeerKem { key, hash, not_after })
}

fn seal(to: &PeerIdentity, label: &[u8; 32], key: &ActivationKey) -> Option<Vec<u8>> {
    if to.suite.uses_kem() {
        keys::seal_kem(&to.kem.as_ref()?.key, label, key.as_slice()).ok()
    } else {
        keys::seal_oaep(to.chain.first()?, label, key.as_slice()).ok()
    }
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

/// Random bytes for the cores, from the system.
pub(crate) fn system_random() -> heteronym_proto::host_stream::Random {
    Box::new(random::fill)
}
