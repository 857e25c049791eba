//! What the protocol needs to know of a certificate.

/// The kind of key a certificate carries; it decides the signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, 2048 to 8192 bits.
    Rsa {
        /// Size of the modulus.
        bits: usize,
    },
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// The facts of one leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970.
    pub not_after: u64,
    /// What kind of key it carries.
    pub key: KeyType,
    /// keyUsage is absent or has digitalSignature.
    pub may_sign: bool,
    /// keyUsage is absent or has keyEncipherment.
    pub may_encipher: bool,
    /// The dNSNames, lower-case; wildcards as they are.
    pub names: Vec<String>,
}

/// Why a certificate cannot be used, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("not an X.509 certificate: {0}")]
    Malformed(String),
}

impl Facts {
    /// Reads the facts of a certificate in DER.
    ///
    /// # Errors
    ///
    /// If it is no certificate, or its key is weak or of a kind that we do not use.
    pub fn read(leaf_der: &[u8]) -> Result<Self, CertificateError> {
        let _ = leaf_der;
        unimplemented!()
    }
}
