//! Private-key and public-key operations, asked for as values and answered as values.
//!
//! The protocol builds every transcript, KDF and MAC itself; a pool of threads performs these.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::identity::{Identity, OwnIdentity, PeerIdentity};
use crate::name::Name;
use crate::suite::Fingerprint;

/// 32 random bytes that one side contributes to an activation.
pub type ActivationKey = Zeroizing<[u8; 32]>;

/// Something for the pool to do.
#[derive(Clone, Debug)]
pub enum CryptoOp {
    /// Show one of our domains: its chain and a current KEM key, made and signed when first needed.
    OwnIdentity {
        /// Ours.
        domain: Name,
    },
    /// Judge a peer's domain: chain, name, dates, keyUsage, and the signature of its KEM key.
    CheckIdentity {
        /// As received; the chain is there.
        identity: Identity,
        /// The peer host, which the KEM key names.
        host: Name,
    },
    /// Sign with the certificate's key of one of our domains.
    Sign {
        /// Ours.
        domain: Name,
        /// The bytes.
        message: Vec<u8>,
    },
    /// Check a signature of a peer's domain.
    Verify {
        /// Whose.
        signer: Arc<PeerIdentity>,
        /// The bytes.
        message: Vec<u8>,
        /// By the suite's signature scheme.
        signature: Vec<u8>,
    },
    /// Encrypt to a peer's domain: RSA-OAEP to its certificate, or HPKE to its KEM key.
    Seal {
        /// To whom.
        to: Arc<PeerIdentity>,
        /// OAEP label or HPKE info.
        label: [u8; 32],
        /// K.
        key: ActivationKey,
    },
    /// Decrypt what was encrypted to one of our domains.
    Open {
        /// Ours.
        domain: Name,
        /// H(kem) of the KEM key; `None` for RSA-OAEP.
        kem: Option<Fingerprint>,
        /// OAEP label or HPKE info.
        label: [u8; 32],
        /// As received.
        ciphertext: Vec<u8>,
    },
}

impl CryptoOp {
    /// Bytes that it holds while it waits, and shares with nobody.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::OwnIdentity { .. } | Self::Seal { .. } => 0,
            Self::CheckIdentity { identity, .. } => identity.chain.iter().map(Vec::len).sum(),
            Self::Sign { message, .. } => message.len(),
            Self::Verify { message, signature, .. } => message.len() + signature.len(),
            Self::Open { ciphertext, .. } => ciphertext.len(),
        }
    }
}

/// What came of a [`CryptoOp`]; the variants correspond.
#[derive(Clone, Debug)]
pub enum CryptoResult {
    /// Or why the domain cannot be shown, for an operator.
    OwnIdentity(Result<Arc<OwnIdentity>, String>),
    /// Or why the domain cannot be trusted, for an operator.
    CheckIdentity(Result<Arc<PeerIdentity>, String>),
    /// `None`: the key is gone.
    Sign(Option<Vec<u8>>),
    /// Whether it held.
    Verify(bool),
    /// `None`: the public key cannot be encrypted to.
    Seal(Option<Vec<u8>>),
    /// `None`: not for us, or altered. One outcome for every cause.
    Open(Option<ActivationKey>),
}
