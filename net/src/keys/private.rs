//! Private keys in memory, used through aws-lc.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256,
};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::KeyError;
use crate::certificate::KeyType;

/// A private key. aws-lc erases its memory when it goes; it is never shown by Debug.
pub(super) enum PrivateKey {
    Rsa { signing: Box<RsaKeyPair>, opening: OaepPrivateDecryptingKey },
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a key that has to be of the kind the certificate says.
    pub(super) fn read(der: &PrivateKeyDer<'_>, kind: KeyType) -> Result<Self, KeyRejected> {
        match kind {
            KeyType::Rsa { .. } => rsa(der),
            KeyType::P256 => ecdsa(der, &ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyType::P384 => ecdsa(der, &ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyType::Ed25519 => Ed25519KeyPair::from_pkcs8(der.secret_der()).map(Self::Ed25519),
        }
    }

    /// The public half as the bit string of a certificate holds it.
    pub(super) fn public(&self) -> &[u8] {
        match self {
            Self::Rsa { signing, .. } => signing.public_key().as_ref(),
            Self::Ecdsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let owner = |_: Unspecified| KeyError::Owner("aws-lc could not sign".to_owned());
        match self {
            Self::Rsa { signing, .. } => {
                let mut signature = vec![0; signing.public_modulus_len()];
                signing.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).map_err(owner)?;
                Ok(signature)
            }
            Self::Ecdsa(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()).map_err(owner)
            }
            Self::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(owner),
        }
    }

    pub(super) fn decrypt_oaep(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Self::Rsa { opening, .. } = self else {
            return Err(KeyError::NotRsa);
        };
        let mut plaintext = Zeroizing::new(vec![0; opening.min_output_size()]);
        let size = opening
            .decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut plaintext, Some(label))
            .map_err(|_| KeyError::Refused)?
            .len();
        plaintext.truncate(size);
        Ok(plaintext)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "an RSA private key",
            Self::Ecdsa(_) => "an ECDSA private key",
            Self::Ed25519(_) => "an Ed25519 private key",
        })
    }
}

fn rsa(der: &PrivateKeyDer<'_>) -> Result<PrivateKey, KeyRejected> {
    let opening = match der {
        // Only PKCS#8 is read by the decrypting half: aws-lc re-writes what is in PKCS#1.
        PrivateKeyDer::Pkcs1(pkcs1) => {
            let pair = RsaKeyPair::from_der(pkcs1.secret_pkcs1_der())?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyRejected::from(Unspecified))?;
            PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref())?
        }
        other => PrivateDecryptingKey::from_pkcs8(other.secret_der())?,
    };
    let pkcs8: Pkcs8V1Der<'_> = opening.as_der().map_err(|_| KeyRejected::from(Unspecified))?;
    let signing = Box::new(RsaKeyPair::from_pkcs8(pkcs8.as_ref())?);
    let opening = OaepPrivateDecryptingKey::new(opening).map_err(|_| KeyRejected::from(Unspecified))?;
    Ok(PrivateKey::Rsa { signing, opening })
}

fn ecdsa(der: &PrivateKeyDer<'_>, algorithm: &'static EcdsaSigningAlgorithm) -> Result<PrivateKey, KeyRejected> {
    EcdsaKeyPair::from_private_key_der(algorithm, der.secret_der()).map(PrivateKey::Ecdsa)
}
