//! The KEM keys of our domains (protocol §4): made when first needed, replaced well before their end,
//! and kept for an hour after it.

use std::sync::Arc;

use dashmap::DashMap;
use heteronym_net::keys::{DomainKey, KemKey};
use heteronym_proto::identity::{KEM_GRACE, KEM_LIFE, KemOffer};
use heteronym_proto::name::Name;
use heteronym_proto::suite::Fingerprint;
use zeroize::Zeroizing;

/// A KEM key is replaced so many seconds before its end, so that peers never get one that is about to end.
const RENEWAL: u64 = KEM_LIFE / 4;
/// And up to so many seconds earlier: domains that began together do not renew together.
const SPREAD: u64 = KEM_LIFE / 8;

/// See the module.
pub(super) struct KemKeys {
    host: Name,
    /// The oldest first; peers encrypt to the last, or to the one before it. One may be made for a domain while those
    /// of nearly all others are at hand.
    of: DashMap<Name, Vec<Arc<Kem>>>,
}

/// The key to be shown, and H(kem) of those before it that still decrypt; or why there is none.
pub(super) type Shown = Result<(Arc<Kem>, Vec<Fingerprint>), String>;

/// A key and what is shown of it.
pub(super) struct Kem {
    key: KemKey,
    leaf: Fingerprint,
    pub(super) offer: KemOffer,
    pub(super) hash: Fingerprint,
}

impl KemKeys {
    /// None yet; `host` serves the domains.
    pub(super) fn new(host: Name) -> Self {
        Self { host, of: DashMap::new() }
    }

    /// The key of `domain` to be shown at `unix` seconds, signed by the certificate's `signer`.
    pub(super) fn show(&self, domain: &Name, signer: &dyn DomainKey, unix: u64) -> Shown {
        let mut of_domain = self.of.entry(domain.clone()).or_default();
        of_domain.retain(|kem| kem.decrypts(unix));
        let current = match of_domain.last().filter(|kem| kem.serves(signer, unix)) {
            Some(kem) => Arc::clone(kem),
            None => {
                let kem = Arc::new(self.make(domain, signer, unix)?);
                of_domain.push(Arc::clone(&kem));
                kem
            }
        };
        let former = former(&of_domain, &current);
        Ok((current, former))
    }

    /// As [`Self::show`], where the key is there, none has to be forgotten, and nobody is about to make another.
    pub(super) fn show_current(
        &self,
        domain: &Name,
        signer: &dyn DomainKey,
        unix: u64,
    ) -> Option<(Arc<Kem>, Vec<Fingerprint>)> {
        let of_domain = self.of.try_get(domain).try_unwrap()?;
        if !of_domain.iter().all(|kem| kem.decrypts(unix)) {
            return None;
        }
        let current = of_domain.last().filter(|kem| kem.serves(signer, unix)).map(Arc::clone)?;
        let former = former(&of_domain, &current);
        Some((current, former))
    }

    fn make(&self, domain: &Name, signer: &dyn DomainKey, unix: u64) -> Result<Kem, String> {
        let (key, leaf) = (KemKey::generate(), signer.facts().fingerprint);
        let mut offer = KemOffer {
            not_before: unix,
            not_after: (unix + KEM_LIFE).min(signer.facts().not_after),
            key: key.public().to_vec(),
            signature: Vec::new(),
        };
        let statement = offer.statement(domain, &self.host, &leaf).to_bytes();
        offer.signature = signer.sign(&statement).map_err(|error| format!("{domain}: {error}"))?;
        let hash = offer.statement(domain, &self.host, &leaf).hash(&offer.signature);
        Ok(Kem { key, leaf, offer, hash })
    }

    /// Decrypts what was encrypted to the key of `domain` that `hash` names.
    pub(super) fn open(
        &self,
        domain: &Name,
        hash: &Fingerprint,
        label: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let kem = self.of.get(domain)?.iter().find(|kem| kem.hash == *hash).map(Arc::clone)?;
        kem.key.open(label, sealed).ok()
    }
}

fn former(all: &[Arc<Kem>], current: &Kem) -> Vec<Fingerprint> {
    all.iter().map(|kem| kem.hash).filter(|hash| *hash != current.hash).collect()
}

impl Kem {
    /// Whether what is encrypted to it is still taken.
    fn decrypts(&self, unix: u64) -> bool {
        unix < self.offer.not_after + KEM_GRACE
    }

    /// Whether it is still the one to be shown. One that ends with the certificate is shown until then:
    /// another would not last longer.
    fn serves(&self, signer: &dyn DomainKey, unix: u64) -> bool {
        let early = SPREAD * u64::from(self.hash[0]) / 255;
        let is_fresh = unix + RENEWAL + early < self.offer.not_after;
        let is_last = self.offer.not_after == signer.facts().not_after && unix < self.offer.not_after;
        self.leaf == signer.facts().fingerprint && (is_fresh || is_last)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a check needs and does not get fails it")]

    use super::*;
    use heteronym_net::certificate::{Facts, KeyType};
    use heteronym_net::keys::KeyError;

    const UNIX: u64 = 1_795_358_400;
    const HOUR: u64 = 3600;

    /// A certificate until then, whose key signs anything.
    struct Signer(Facts);

    impl Signer {
        fn until(not_after: u64) -> Self {
            Self(Facts {
                fingerprint: [1; 32],
                not_before: 0,
                not_after,
                key: KeyType::P256,
                may_sign: true,
                may_encipher: false,
                names: Vec::new(),
                xmpp_names: Vec::new(),
            })
        }
    }

    impl DomainKey for Signer {
        fn chain(&self) -> &[Vec<u8>] {
            &[]
        }

        fn facts(&self) -> &Facts {
            &self.0
        }

        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            Ok(vec![7])
        }

        fn decrypt_oaep(&self, _: &[u8], _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
            Err(KeyError::NotRsa)
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn shown(keys: &KemKeys, signer: &Signer, unix: u64) -> (Fingerprint, Vec<Fingerprint>) {
        let (kem, former) = keys.show(&name("saramago.lit"), signer, unix).unwrap();
        (kem.hash, former)
    }

    #[test]
    fn a_key_gives_way_before_its_end_and_decrypts_for_an_hour_after_it() {
        let (keys, signer) = (KemKeys::new(name("xmpp.my.isp")), Signer::until(u64::MAX));
        let (first, none) = shown(&keys, &signer, UNIX);
        assert_eq!(shown(&keys, &signer, UNIX + 14 * HOUR), (first, none));
        let (second, former) = shown(&keys, &signer, UNIX + 18 * HOUR);
        assert_ne!(first, second);
        assert_eq!(former, [first]);
        assert_eq!(shown(&keys, &signer, UNIX + 25 * HOUR - 1), (second, vec![first]));
        assert_eq!(shown(&keys, &signer, UNIX + 25 * HOUR), (second, vec![]));
        assert!(keys.open(&name("saramago.lit"), &first, b"label", b"").is_none());
    }

    #[test]
    fn what_was_sealed_to_a_former_key_opens() {
        let (keys, signer, domain) = (KemKeys::new(name("xmpp.my.isp")), Signer::until(u64::MAX), name("saramago.lit"));
        let (first, _) = keys.show(&domain, &signer, UNIX).unwrap();
        let sealed = heteronym_net::keys::seal_kem(&first.offer.key, b"label", b"secret").unwrap();
        let (second, _) = keys.show(&domain, &signer, UNIX + 20 * HOUR).unwrap();
        assert_eq!(*keys.open(&domain, &first.hash, b"label", &sealed).unwrap(), b"secret");
        assert!(keys.open(&domain, &second.hash, b"label", &sealed).is_none());
    }

    #[test]
    fn what_is_at_hand_is_what_would_be_shown_and_keeps_no_key_alive() {
        let (keys, signer, domain) = (KemKeys::new(name("xmpp.my.isp")), Signer::until(u64::MAX), name("saramago.lit"));
        let at_hand = |hours| {
            let (kem, former) = keys.show_current(&domain, &signer, UNIX + hours * HOUR)?;
            Some((kem.hash, former))
        };
        assert_eq!(at_hand(0), None, "it has to be made");
        let first = shown(&keys, &signer, UNIX);
        assert_eq!(at_hand(1), Some(first));
        assert_eq!(at_hand(20), None, "it has to be renewed");
        let second = shown(&keys, &signer, UNIX + 20 * HOUR);
        assert_eq!(at_hand(21), Some(second));
        assert_eq!(at_hand(25), None, "the first one has to be forgotten");
        let third = shown(&keys, &signer, UNIX + 25 * HOUR);
        assert_eq!(at_hand(25), Some(third));
    }

    /// Each question would find another key, and no request would ever name the current one.
    #[test]
    fn a_certificate_that_ends_soon_has_one_key_until_then() {
        let (keys, signer) = (KemKeys::new(name("xmpp.my.isp")), Signer::until(UNIX + HOUR));
        let first = shown(&keys, &signer, UNIX);
        assert_eq!(shown(&keys, &signer, UNIX + HOUR - 1), first);
    }

    #[test]
    fn another_certificate_has_another_key() {
        let (keys, signer) = (KemKeys::new(name("xmpp.my.isp")), Signer::until(u64::MAX));
        let mut renewed = Signer::until(u64::MAX);
        renewed.0.fingerprint = [2; 32];
        assert_ne!(shown(&keys, &signer, UNIX).0, shown(&keys, &renewed, UNIX).0);
    }
}
