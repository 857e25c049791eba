//! Which signature and encryption a domain's certificate allows (protocol §5): key type and
//! keyUsage decide, nothing is negotiated.

/// SHA-256 of a DER certificate.
pub type Fingerprint = [u8; 32];

/// The kind of a certificate's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA of at least 2048 bits.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// What the protocol needs to know of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// Start of validity, Unix seconds.
    pub not_before: u64,
    /// End of validity, Unix seconds.
    pub not_after: u64,
    /// Kind of the public key.
    pub key: KeyType,
    /// keyUsage is absent or has digitalSignature.
    pub may_sign: bool,
    /// keyUsage is absent or has keyEncipherment.
    pub may_encipher: bool,
}

/// How a domain signs, and how one encrypts to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// RSA-PSS and RSA-OAEP: the proposal to the letter.
    RsaOaep,
    /// RSA-PSS, and HPKE to a signed KEM key.
    RsaHpke,
    /// ECDSA on P-256, and HPKE to a signed KEM key.
    P256Hpke,
    /// ECDSA on P-384, and HPKE to a signed KEM key.
    P384Hpke,
    /// Ed25519, and HPKE to a signed KEM key.
    Ed25519Hpke,
}

impl Suite {
    const ALL: [Self; 5] = [Self::RsaOaep, Self::RsaHpke, Self::P256Hpke, Self::P384Hpke, Self::Ed25519Hpke];

    /// The suite of a certificate; `None` where its keyUsage forbids to sign.
    #[must_use]
    pub fn of(certificate: &CertificateFacts) -> Option<Self> {
        if !certificate.may_sign {
            return None;
        }
        Some(match certificate.key {
            KeyType::Rsa if certificate.may_encipher => Self::RsaOaep,
            KeyType::Rsa => Self::RsaHpke,
            KeyType::P256 => Self::P256Hpke,
            KeyType::P384 => Self::P384Hpke,
            KeyType::Ed25519 => Self::Ed25519Hpke,
        })
    }

    /// The string on the wire and in transcripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaOaep => "rsa-pss-sha256+rsa-oaep-sha256",
            Self::RsaHpke => "rsa-pss-sha256+hpke-x25519-sha256-aes128gcm",
            Self::P256Hpke => "ecdsa-p256-sha256+hpke-x25519-sha256-aes128gcm",
            Self::P384Hpke => "ecdsa-p384-sha384+hpke-x25519-sha256-aes128gcm",
            Self::Ed25519Hpke => "ed25519+hpke-x25519-sha256-aes128gcm",
        }
    }

    /// The suite of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.as_str() == text)
    }

    /// Whether one encrypts to a KEM key instead of the certificate's own.
    #[must_use]
    pub fn uses_kem(self) -> bool {
        self != Self::RsaOaep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(key: KeyType, may_sign: bool, may_encipher: bool) -> CertificateFacts {
        CertificateFacts { fingerprint: [0; 32], not_before: 0, not_after: 1, key, may_sign, may_encipher }
    }

    #[test]
    fn key_type_and_key_usage_decide() {
        assert_eq!(Suite::of(&facts(KeyType::Rsa, true, true)), Some(Suite::RsaOaep));
        assert_eq!(Suite::of(&facts(KeyType::Rsa, true, false)), Some(Suite::RsaHpke));
        assert_eq!(Suite::of(&facts(KeyType::P256, true, true)), Some(Suite::P256Hpke));
        assert_eq!(Suite::of(&facts(KeyType::P256, false, true)), None);
    }

    #[test]
    fn names_on_the_wire_are_read_back_and_others_refused() {
        for suite in Suite::ALL {
            assert_eq!(Suite::parse(suite.as_str()), Some(suite));
        }
        assert_eq!(Suite::parse("rsa-pkcs1-sha256+rsa-oaep-sha256"), None);
    }
}
