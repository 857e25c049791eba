//! A certificate authority for hosts and domains that nobody else knows.
//!
//! What it issues looks as public CAs issue it today: a root, an intermediate, and leaves for servers
//! only (no clientAuth) whose keys may sign and nothing else. Whatever deviates from that is asked for.

mod profile;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use heteronym_net::keys::{DomainKey, FileKey, LoadError};
use rcgen::{
    Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A key cannot be made.
    #[error("making a key: {0}")]
    Key(rcgen::Error),
    /// What is asked for cannot stand in a certificate, such as a name that is not ASCII.
    #[error("a certificate for {subject}: {error}")]
    Certificate {
        /// Whom it is for.
        subject: String,
        /// What is wrong.
        error: rcgen::Error,
    },
}

/// A root, and the intermediate that signs what is issued.
pub struct Authority {
    root_pem: String,
    intermediate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf is to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its dNSNames; `*.` before a parent is a wildcard.
    pub names: Vec<String>,
    /// The domains of its id-on-xmppAddr (RFC 6120 §13.7.1.4).
    pub xmpp_addresses: Vec<String>,
    /// The kind of its key, where one is made for it.
    pub key: KeyKind,
    /// In seconds since 1970; none: an hour ago.
    pub not_before: Option<u64>,
    /// In seconds since 1970; none: in 90 days.
    pub not_after: Option<u64>,
    /// What the key may be used for.
    pub key_usage: KeyUsage,
    /// Whom the certificate is for.
    pub extended: ExtendedKeyUsage,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA of 2048 bits. It takes a tenth of a second to make one.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits, the largest that is accepted. It takes seconds.
    Rsa4096,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// The keyUsage extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyUsage {
    /// There is none.
    Absent,
    /// digitalSignature: what public CAs issue today, for RSA keys too.
    #[default]
    Signature,
    /// digitalSignature and keyEncipherment: an RSA key that may be encrypted to.
    SignatureAndEncipherment,
    /// keyEncipherment only: a key that may not sign.
    Encipherment,
}

/// The extendedKeyUsage extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// There is none.
    Absent,
    /// serverAuth: what public CAs issue today.
    #[default]
    ServerAuth,
    /// clientAuth only.
    ClientAuth,
    /// Both, as public CAs used to issue it.
    ServerAndClientAuth,
}

/// A key that several certificates may share: RSA ones are slow to make. Cloning is cheap.
#[derive(Clone)]
pub struct KeyMaterial(Arc<KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The leaf and the intermediate.
    pub chain_pem: String,
    /// The private key in PKCS#8.
    pub key_pem: String,
}

impl Request {
    /// A leaf for `names` as public CAs issue it today.
    #[must_use]
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>, key: KeyKind) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            xmpp_addresses: Vec::new(),
            key,
            not_before: None,
            not_after: None,
            key_usage: KeyUsage::default(),
            extended: ExtendedKeyUsage::default(),
        }
    }
}

impl KeyMaterial {
    /// Makes a key.
    ///
    /// # Errors
    /// If aws-lc cannot.
    pub fn generate(kind: KeyKind) -> Result<Self, AuthorityError> {
        let key = match kind {
            KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyKind::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyKind::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyKind::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        };
        key.map(|key| Self(Arc::new(key))).map_err(AuthorityError::Key)
    }
}

impl Authority {
    /// An authority whose root is called `name`.
    ///
    /// # Errors
    /// If a key cannot be made or `name` cannot stand in a certificate.
    pub fn new(name: &str) -> Result<Self, AuthorityError> {
        let failed = |error| AuthorityError::Certificate { subject: name.to_owned(), error };
        let root_key = KeyPair::generate().map_err(AuthorityError::Key)?;
        let root = profile::authority(name);
        let root_pem = root.self_signed(&root_key).map_err(failed)?.pem();
        let root = Issuer::new(root, root_key);
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        let intermediate = profile::authority(&format!("{name}, intermediate"));
        let intermediate_pem = intermediate.signed_by(&key, &root).map_err(failed)?.pem();
        Ok(Self { root_pem, intermediate_pem, issuer: Issuer::new(intermediate, key) })
    }

    /// What whoever trusts it needs.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate with a key of its own.
    ///
    /// # Errors
    /// If the key cannot be made or the names cannot stand in a certificate.
    pub fn issue(&self, request: &Request) -> Result<Issued, AuthorityError> {
        self.issue_with(request, &KeyMaterial::generate(request.key)?)
    }

    /// A certificate for `key`, of whatever kind that is.
    ///
    /// # Errors
    /// If the names cannot stand in a certificate.
    pub fn issue_with(&self, request: &Request, key: &KeyMaterial) -> Result<Issued, AuthorityError> {
        let failed = |error| AuthorityError::Certificate { subject: request.names.join(", "), error };
        let leaf = profile::leaf(request).map_err(failed)?.signed_by(&*key.0, &self.issuer).map_err(failed)?;
        Ok(Issued { chain_pem: leaf.pem() + &self.intermediate_pem, key_pem: key.0.serialize_pem() })
    }
}

impl Issued {
    /// Writes `fullchain.pem` and `privkey.pem`, certbot's layout, into `folder`, which is made.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("fullchain.pem"), &self.chain_pem)?;
        let mut key = OpenOptions::new();
        let key = key.write(true).create(true).truncate(true).mode(0o600).open(folder.join("privkey.pem"));
        key?.write_all(self.key_pem.as_bytes())
    }

    /// The key and its certificates, as the router holds them.
    ///
    /// # Errors
    /// If the router would not take them: a key that may not sign.
    pub fn key(&self) -> Result<Arc<dyn DomainKey>, LoadError> {
        Ok(Arc::new(FileKey::from_pem(self.chain_pem.as_bytes(), self.key_pem.as_bytes())?))
    }
}

#[cfg(test)]
mod tests;
