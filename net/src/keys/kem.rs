//! HPKE (RFC 9180): for domains whose certificate cannot be encrypted to.
//!
//! Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, an empty aad. Sealed text is the
//! 32 bytes of the encapsulated key, then the ciphertext with its tag of 16 bytes.

use std::fmt;

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use super::KeyError;

/// Bytes of an X25519 public key, and of an encapsulated key.
const PUBLIC: usize = 32;

/// An X25519 key of ours, as `<kem/>` publishes it. Its secret half is erased when it goes.
pub struct KemKey {
    public: Vec<u8>,
    secret: HpkePrivateKey,
}

impl KemKey {
    /// A fresh key.
    ///
    /// # Panics
    ///
    /// If there is no randomness, as [`random::fill`](crate::random::fill).
    #[must_use]
    pub fn generate() -> Self {
        let (public, secret) = DH_KEM_X25519_HKDF_SHA256_AES_128
            .generate_key_pair()
            .expect("an X25519 key needs nothing but randomness, without which aws-lc aborts");
        Self { public: public.0, secret }
    }

    /// A key that others know as well.
    #[cfg(test)]
    pub(super) fn known(public: Vec<u8>, secret: Vec<u8>) -> Self {
        Self { public, secret: secret.into() }
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens what [`seal_kem`] made with the same `info`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`] if it was sealed to another key, with another `info`, or changed.
    pub fn open(&self, info: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(PUBLIC).ok_or(KeyError::Refused)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let suite = DH_KEM_X25519_HKDF_SHA256_AES_128;
        let opened = suite.open(&encapsulated, info, &[], ciphertext, &self.secret);
        opened.map(Zeroizing::new).map_err(|_| KeyError::Refused)
    }
}

impl fmt::Debug for KemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KemKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Seals to an X25519 key of the peer's.
///
/// # Errors
///
/// [`KeyError::Refused`] if `public` is not 32 bytes or a point of small order, with which there is
/// no secret.
pub fn seal_kem(public: &[u8], info: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, KeyError> {
    if public.len() != PUBLIC {
        return Err(KeyError::Refused);
    }
    let to = HpkePublicKey(public.to_vec());
    let (encapsulated, ciphertext) =
        DH_KEM_X25519_HKDF_SHA256_AES_128.seal(info, &[], plaintext, &to).map_err(|_| KeyError::Refused)?;
    let mut sealed = encapsulated.0;
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::{KemKey, seal_kem};
    use crate::keys::KeyError;

    #[test]
    fn what_is_sealed_to_a_key_opens_with_it() {
        let key = KemKey::generate();
        let sealed = seal_kem(key.public(), b"info", b"thirty-two bytes of secret here!").unwrap();
        assert_eq!(sealed.len(), 32 + 32 + 16);
        assert_eq!(*key.open(b"info", &sealed).unwrap(), b"thirty-two bytes of secret here!");
    }

    #[test]
    fn other_info_is_refused() {
        let key = KemKey::generate();
        let sealed = seal_kem(key.public(), b"info", b"secret").unwrap();
        assert_eq!(key.open(b"other", &sealed), Err(KeyError::Refused));
    }

    #[test]
    fn another_key_is_refused() {
        let sealed = seal_kem(KemKey::generate().public(), b"info", b"secret").unwrap();
        assert_eq!(KemKey::generate().open(b"info", &sealed), Err(KeyError::Refused));
    }

    #[test]
    fn a_changed_or_cut_ciphertext_is_refused() {
        let key = KemKey::generate();
        let sealed = seal_kem(key.public(), b"info", b"secret").unwrap();
        for at in 0..sealed.len() {
            assert_eq!(key.open(b"info", &sealed[..at]), Err(KeyError::Refused));
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            // X25519 ignores the top bit of a point, but HPKE binds the bytes as they are.
            assert_eq!(key.open(b"info", &changed), Err(KeyError::Refused), "byte {at}");
        }
    }

    #[test]
    fn a_public_key_that_is_none_is_refused() {
        assert_eq!(seal_kem(&[9; 31], b"info", b"secret"), Err(KeyError::Refused));
        assert_eq!(seal_kem(&[0; 32], b"info", b"secret"), Err(KeyError::Refused), "small order");
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = KemKey::generate();
        let shown = format!("{key:?}");
        assert!(!shown.contains(&format!("{:?}", key.secret.secret_bytes())), "{shown}");
    }

    /// RFC 9180, appendix A.1.1: base setup of this very suite, first ciphertext.
    #[test]
    fn the_rfcs_own_vector_opens() {
        let key = KemKey::known(
            hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"),
            hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"),
        );
        let suite = super::DH_KEM_X25519_HKDF_SHA256_AES_128;
        let encapsulated = hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
        let info = hex("4f6465206f6e2061204772656369616e2055726e");
        let ciphertext =
            hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a");
        use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _};
        let opened = suite.open(&EncapsulatedSecret(encapsulated), &info, b"Count-0", &ciphertext, &key.secret);
        assert_eq!(opened.unwrap(), b"Beauty is truth, truth beauty");
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }
}
