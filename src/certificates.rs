//! The certificates of the host and of every hosted domain, from their folders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heteronym_actors::crypto::KeyOf;
use heteronym_net::keys::{DomainKey, FileKey, LoadError};
use heteronym_net::trust::{Roots, RootsError};
use heteronym_proto::name::Name;
use tracing::error;

use crate::config::{self, Config, Local};

/// What is wrong with the host's certificate or with the roots: the router cannot run.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The host's own.
    #[error("host.certificate = {folder:?}: {error}", folder = folder.display())]
    Host {
        /// Where it was looked for.
        folder: PathBuf,
        /// What is wrong.
        error: LoadError,
    },
    /// The host's own is for somebody else.
    #[error("host.certificate: it is for {has}, and not for {host}")]
    OtherName {
        /// The configured name.
        host: Name,
        /// The certificate's names.
        has: String,
    },
    /// The trust anchors.
    #[error("tls.roots: {0}")]
    Roots(#[from] RootsError),
}

/// Keys and roots, as configured.
pub struct Certificates {
    /// The host's.
    pub host: Arc<dyn DomainKey>,
    /// Every hosted domain's, or why it has none.
    pub domains: HashMap<Name, KeyOf>,
    /// Who is trusted.
    pub roots: Roots,
}

impl Certificates {
    /// Reads everything that `config` names. What is wrong with one domain is logged, and that
    /// domain is refused; the router runs.
    ///
    /// # Errors
    /// If the host's certificate or the roots are wrong.
    pub fn load(config: &Config) -> Result<Self, CertificatesError> {
        let roots = match &config.tls.roots {
            config::Roots::System => Roots::system()?,
            config::Roots::Files(files) => Roots::from_pem_files(files)?,
        };
        let roots = roots.with_extra(&config.tls.extra_roots)?;
        let host = load_host(config)?;
        let domains = config.locals.iter().flat_map(domains_of).collect();
        Ok(Self { host, domains, roots })
    }
}

fn load_host(config: &Config) -> Result<Arc<dyn DomainKey>, CertificatesError> {
    let folder = config.host.certificate.clone();
    let key = FileKey::load(&folder).map_err(|error| CertificatesError::Host { folder, error })?;
    if !covers(&key.facts().names, config.host.name.as_str()) {
        let (host, has) = (config.host.name.clone(), key.facts().names.join(", "));
        return Err(CertificatesError::OtherName { host, has });
    }
    Ok(Arc::new(key))
}

fn domains_of(local: &Local) -> impl Iterator<Item = (Name, KeyOf)> {
    local.domains.iter().map(|domain| {
        let key = load_domain(&local.certificates, domain);
        if let Err(why) = &key {
            error!(%domain, why, "the domain cannot be activated until its certificate is there; renew it and restart");
        }
        (domain.clone(), key)
    })
}

/// The domain's own folder, or that of the nearest parent whose certificate covers the name.
fn load_domain(folder: &Path, domain: &Name) -> KeyOf {
    let own = folder.join(domain.as_str());
    if own.is_dir() {
        return load_for(&own, domain);
    }
    let mut parent = domain.as_str();
    while let Some((_, rest)) = parent.split_once('.') {
        parent = rest;
        let candidate = folder.join(parent);
        if candidate.is_dir() {
            return load_for(&candidate, domain);
        }
    }
    Err(format!("there is no folder {} with fullchain.pem and privkey.pem, nor one of a parent", own.display()))
}

fn load_for(folder: &Path, domain: &Name) -> KeyOf {
    let key = FileKey::load(folder).map_err(|error| error.to_string())?;
    let names = &key.facts().names;
    if !covers(names, domain.as_str()) {
        return Err(format!("the certificate in {} is for {}, not for {domain}", folder.display(), names.join(", ")));
    }
    Ok(Arc::new(key))
}

/// RFC 6125 §6.4: equal, or a wildcard for exactly the leftmost label.
fn covers(names: &[String], domain: &str) -> bool {
    let under = domain.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| {
        let wildcard = name.strip_prefix("*.");
        name.eq_ignore_ascii_case(domain)
            || wildcard.is_some_and(|parent| under.is_some_and(|under| under.eq_ignore_ascii_case(parent)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let names = ["*.saramago.lit".to_owned(), "Pessoa.lit".to_owned()];
        assert!(covers(&names, "chat.saramago.lit"));
        assert!(covers(&names, "pessoa.lit"));
        assert!(!covers(&names, "saramago.lit"));
        assert!(!covers(&names, "a.chat.saramago.lit"));
    }
}
