//! A deterministic stand-in for the crypto pool: everything that a real one would refuse, it refuses.
//!
//! A certificate is a line of text; its key is derived from that line, so that a signature or a
//! ciphertext belongs to one certificate, one message, one label and one recipient.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use heteronym_proto::crypto::{ActivationKey, CryptoOp, CryptoResult};
use heteronym_proto::identity::{Identity, KemOffer, OwnIdentity, PeerIdentity, PeerKem};
use heteronym_proto::name::Name;
use heteronym_proto::suite::{CertificateFacts, Fingerprint, KeyType, Suite};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The wall clock at the start: an hour after midnight, so that no KEM key ends meanwhile.
pub(crate) const UNIX: u64 = 1_795_305_600 + 3600;
/// Seconds for which a test's certificate is valid, before and after [`UNIX`].
const VALIDITY: u64 = 90 * 24 * 3600;

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// The keys of one host's domains, and what it thinks of others'.
pub(crate) struct Vault {
    host: Name,
    domains: HashMap<Name, Certificate>,
    kem_serial: u32,
    /// The KEM keys before the current ones, where they can still be decrypted with.
    former_kem_serial: Option<u32>,
    /// Domains whose chains are not trusted.
    pub(crate) untrusted: HashSet<Name>,
    /// Shows certificates of ours that have ended, which an honest host does not.
    pub(crate) shows_ended: bool,
    /// Signatures that come out wrong, by domain.
    pub(crate) forging: HashSet<Name>,
}

/// A certificate, as its line of text says.
#[derive(Clone)]
pub(crate) struct Certificate {
    domain: Name,
    key: KeyType,
    not_before: u64,
    not_after: u64,
    serial: u32,
}

impl Certificate {
    pub(crate) fn new(domain: &str, key: KeyType) -> Self {
        let (not_before, not_after) = (UNIX - VALIDITY, UNIX + VALIDITY);
        Self { domain: name(domain), key, not_before, not_after, serial: 1 }
    }

    pub(crate) fn ending(mut self, not_after: u64) -> Self {
        self.not_after = not_after;
        self
    }

    pub(crate) fn renewed(mut self) -> Self {
        self.serial += 1;
        self
    }

    pub(crate) fn domain(&self) -> &Name {
        &self.domain
    }

    fn der(&self) -> Vec<u8> {
        let Self { domain, key, not_before, not_after, serial } = self;
        format!("{domain}|{key:?}|{not_before}|{not_after}|{serial}").into_bytes()
    }

    fn read(der: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(der).ok()?;
        let mut fields = text.split('|');
        let domain = Name::parse(fields.next()?).ok()?;
        let key = match fields.next()? {
            "Rsa" => KeyType::Rsa,
            "P256" => KeyType::P256,
            _ => return None,
        };
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (not_before, not_after) = (number()?, number()?);
        let serial = u32::try_from(number()?).ok()?;
        Some(Self { domain, key, not_before, not_after, serial })
    }

    fn facts(&self) -> CertificateFacts {
        CertificateFacts {
            fingerprint: hash(&self.der()),
            not_before: self.not_before,
            not_after: self.not_after,
            key: self.key,
            may_sign: true,
            may_encipher: true,
        }
    }

    fn suite(&self) -> Suite {
        Suite::of(&self.facts()).expect("the certificate may sign")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        mac(&[b"signing key", &self.der()], message).to_vec()
    }
}

impl Vault {
    pub(crate) fn new(host: &Name, certificates: Vec<Certificate>) -> Self {
        let domains = certificates.into_iter().map(|certificate| (certificate.domain.clone(), certificate)).collect();
        let (untrusted, forging) = (HashSet::new(), HashSet::new());
        Self {
            host: host.clone(),
            domains,
            kem_serial: 1,
            former_kem_serial: None,
            untrusted,
            shows_ended: false,
            forging,
        }
    }

    /// Puts another certificate in the place of the domain's.
    pub(crate) fn replace(&mut self, certificate: Certificate) {
        self.domains.insert(certificate.domain.clone(), certificate);
    }

    /// Loses the domain's key.
    pub(crate) fn remove(&mut self, domain: &str) {
        self.domains.remove(domain);
    }

    /// The domain's certificate.
    pub(crate) fn certificate(&self, domain: &str) -> Certificate {
        self.domains[domain].clone()
    }

    /// Makes new KEM keys; the old ones cannot be decrypted with any more.
    pub(crate) fn renew_kems(&mut self) {
        self.kem_serial += 1;
        self.former_kem_serial = None;
    }

    /// Makes new KEM keys, and keeps the old ones for who has seen nothing newer.
    pub(crate) fn rotate_kems(&mut self) {
        self.former_kem_serial = Some(self.kem_serial);
        self.kem_serial += 1;
    }

    pub(crate) fn perform(&self, op: CryptoOp, unix: u64) -> CryptoResult {
        match op {
            CryptoOp::OwnIdentity { domain } => CryptoResult::OwnIdentity(self.own(&domain, unix).map(Arc::new)),
            CryptoOp::CheckIdentity { identity, host } => {
                CryptoResult::CheckIdentity(self.check(&identity, &host, unix).map(Arc::new))
            }
            CryptoOp::Sign { domain, mut message } => {
                if self.forging.contains(&domain) {
                    message.push(0);
                }
                CryptoResult::Sign(self.domains.get(&domain).map(|certificate| certificate.sign(&message)))
            }
            CryptoOp::Verify { signer, message, signature } => {
                let certificate = Certificate::read(&signer.chain[0]);
                CryptoResult::Verify(certificate.is_some_and(|certificate| certificate.sign(&message) == signature))
            }
            CryptoOp::Seal { to, label, key } => CryptoResult::Seal(recipient(&to).map(|to| seal(&to, &label, &key))),
            CryptoOp::Open { domain, kem, label, ciphertext } => {
                CryptoResult::Open(self.open(&domain, kem, &label, &ciphertext, unix))
            }
        }
    }

    /// One of our identities.
    pub(crate) fn own(&self, domain: &Name, unix: u64) -> Result<OwnIdentity, String> {
        let certificate = self.domains.get(domain).ok_or_else(|| format!("{domain} has no key"))?;
        if certificate.not_after <= unix && !self.shows_ended {
            return Err(format!("the certificate of {domain} has ended"));
        }
        let (facts, suite) = (certificate.facts(), certificate.suite());
        let offer = |serial| suite.uses_kem().then(|| self.kem(certificate, serial, unix));
        let hash = |offer: &KemOffer| offer.statement(domain, &self.host, &facts.fingerprint).hash(&offer.signature);
        let former = self.former_kem_serial.and_then(offer);
        let former_kems = former.iter().map(hash).collect();
        let offer = offer(self.kem_serial);
        let kem = offer.as_ref().map(hash);
        let identity = Identity { domain: domain.clone(), chain: vec![certificate.der()], kem: offer };
        Ok(OwnIdentity { identity, certificate: facts, suite, kem, former_kems })
    }

    fn kem(&self, certificate: &Certificate, serial: u32, unix: u64) -> KemOffer {
        let day = unix - unix % (24 * 3600);
        let key = hash(&[&certificate.der()[..], b"kem", &serial.to_be_bytes(), &day.to_be_bytes()].concat());
        let mut offer =
            KemOffer { not_before: day, not_after: day + 24 * 3600, key: key.to_vec(), signature: Vec::new() };
        let leaf = certificate.facts().fingerprint;
        offer.signature = certificate.sign(&offer.statement(&certificate.domain, &self.host, &leaf).to_bytes());
        offer
    }

    fn check(&self, identity: &Identity, host: &Name, unix: u64) -> Result<PeerIdentity, String> {
        let leaf = identity.chain.first().ok_or("no certificate")?;
        let certificate = Certificate::read(leaf).ok_or("no certificate that we can read")?;
        if certificate.domain != identity.domain || self.untrusted.contains(&identity.domain) {
            return Err(format!("the chain of {} is not trusted", identity.domain));
        }
        if unix < certificate.not_before || certificate.not_after <= unix {
            return Err(format!("the certificate of {} is not valid now", identity.domain));
        }
        let (facts, suite) = (certificate.facts(), certificate.suite());
        let kem = match &identity.kem {
            Some(offer) if suite.uses_kem() => {
                let statement = offer.statement(&identity.domain, host, &facts.fingerprint);
                if certificate.sign(&statement.to_bytes()) != offer.signature || !offer.is_current(unix) {
                    return Err("the KEM key is not good".to_owned());
                }
                let hash = statement.hash(&offer.signature);
                Some(PeerKem { key: offer.key.clone(), hash, not_after: offer.not_after })
            }
            Some(_) => None,
            None if suite.uses_kem() => return Err("the suite needs a KEM key".to_owned()),
            None => None,
        };
        let (domain, chain) = (identity.domain.clone(), identity.chain.clone());
        Ok(PeerIdentity { domain, chain, certificate: facts, suite, kem })
    }

    fn open(
        &self,
        domain: &Name,
        kem: Option<Fingerprint>,
        label: &[u8; 32],
        ciphertext: &[u8],
        unix: u64,
    ) -> Option<ActivationKey> {
        let own = self.own(domain, unix).ok()?;
        let serials = [Some(self.kem_serial), self.former_kem_serial].into_iter().flatten();
        let recipient = match kem {
            Some(kem) => {
                let certificate = &self.domains[domain];
                let leaf = own.certificate.fingerprint;
                let offers = serials.map(|serial| self.kem(certificate, serial, unix));
                let named = |offer: &KemOffer| offer.statement(domain, &self.host, &leaf).hash(&offer.signature) == kem;
                offers.into_iter().find(named)?.key
            }
            None if own.suite.uses_kem() => return None,
            None => own.identity.chain[0].clone(),
        };
        let (masked, tag) = ciphertext.split_at_checked(32)?;
        let mut key = Zeroizing::new([0; 32]);
        for ((out, byte), mask) in key.iter_mut().zip(masked).zip(mac(&[b"mask", &recipient], label)) {
            *out = byte ^ mask;
        }
        (seal(&recipient, label, &key)[32..] == *tag).then_some(key)
    }
}

fn recipient(to: &PeerIdentity) -> Option<Vec<u8>> {
    if to.suite.uses_kem() { Some(to.kem.as_ref()?.key.clone()) } else { Some(to.chain[0].clone()) }
}

fn seal(recipient: &[u8], label: &[u8; 32], key: &[u8; 32]) -> Vec<u8> {
    let mask = mac(&[b"mask", recipient], label);
    let masked: Vec<u8> = key.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let tag = mac(&[b"tag", recipient, label], key);
    [masked, tag.to_vec()].concat()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn mac(key: &[&[u8]], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.concat()).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}
