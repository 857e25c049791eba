//! The certificates of the host and of every hosted domain, from their folders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heteronym_actors::crypto::KeyOf;
use heteronym_net::certificate::{Facts, date};
use heteronym_net::clock::Now;
use heteronym_net::keys::{DomainKey, FileKey};
use heteronym_net::trust::{Roots, RootsError};
use heteronym_proto::name::Name;
use tracing::error;

use crate::config::{self, Config, ConfigError, ConfigErrors, Draft, Local, Problem, Tls};

/// Keys and roots, as configured.
pub struct Certificates {
    /// The host's.
    pub host: Arc<dyn DomainKey>,
    /// Every hosted domain's, or why it has none.
    pub domains: HashMap<Name, KeyOf>,
    /// Who is trusted.
    pub roots: Roots,
}

/// What the status page and the metrics tell of certificates.
#[derive(Clone, Debug)]
pub struct Dates {
    /// Until when the host's is valid, in Unix seconds.
    pub host: u64,
    /// The same of every domain's, where there is one.
    pub domains: HashMap<Name, Option<u64>>,
    /// Domains that were refused when the certificates were read, and why.
    pub refused: Vec<(Name, String)>,
}

/// Reads the configuration at `file` and all keys and roots that it names.
///
/// # Errors
/// Everything that is wrong with the file, the host's certificate and the roots, at once.
pub fn read(file: &Path) -> Result<(Config, Certificates), ConfigErrors> {
    let mut draft = Draft::load(file)?;
    let roots = load_roots(draft.tls()).map_err(|errors| draft.refuse(errors)).ok();
    let host = draft.config().map(load_host);
    let host = host.and_then(|host| host.map_err(|errors| draft.refuse(errors)).ok());
    let config = draft.finish()?;
    match (roots, host) {
        (Some(roots), Some(host)) => {
            let certificates = Certificates { host, domains: load_domains(&config), roots };
            Ok((config, certificates))
        }
        (None, _) | (_, None) => unreachable!("they are missing only where an error was reported"),
    }
}

impl Certificates {
    /// Reads everything that `config` names.
    ///
    /// # Errors
    /// Everything that is wrong with the host's certificate and the roots. What is wrong with one
    /// domain's is in `domains`: that domain is refused, and the router runs.
    pub fn load(config: &Config) -> Result<Self, ConfigErrors> {
        match (load_roots(&config.tls), load_host(config)) {
            (Ok(roots), Ok(host)) => Ok(Self { host, domains: load_domains(config), roots }),
            (roots, host) => Err([roots.err(), host.err()].into_iter().flatten().flatten().collect::<Vec<_>>().into()),
        }
    }

    /// Every domain that is refused now, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&Name, String)> {
        self.domains.iter().filter_map(|(domain, key)| Some((domain, problem(key, domain)?)))
    }

    /// Until when each certificate is valid, the host's included, and what is wrong with the others.
    #[must_use]
    pub fn dates(&self) -> Dates {
        let of = |(domain, key): (&Name, &KeyOf)| (domain.clone(), key.as_ref().map(|key| key.facts().not_after).ok());
        Dates {
            host: self.host.facts().not_after,
            domains: self.domains.iter().map(of).collect(),
            refused: self.problems().map(|(domain, why)| (domain.clone(), why)).collect(),
        }
    }

    /// Tells the log which domains are refused.
    pub fn log_problems(&self) {
        for (domain, why) in self.problems() {
            error!(%domain, why, "the domain is refused until its certificate is right; renew it and reload");
        }
    }
}

fn load_roots(tls: &Tls) -> Result<Roots, Vec<ConfigError>> {
    let (mut roots, mut errors) = match &tls.roots {
        config::Roots::System => match Roots::system() {
            Ok(roots) => (roots, Vec::new()),
            Err(error) => (Roots::none(), vec![refuse_roots("tls.roots".to_owned(), "\"system\"".to_owned(), &error)]),
        },
        config::Roots::Files(_) => (Roots::none(), Vec::new()),
    };
    for (key, file) in root_files(tls) {
        match roots.with_extra(std::slice::from_ref(file)) {
            Ok(more) => roots = more,
            Err(error) => errors.push(refuse_roots(key, format!("{:?}", file.display().to_string()), &error)),
        }
    }
    if errors.is_empty() { Ok(roots) } else { Err(errors) }
}

/// The PEM files with their keys.
fn root_files(tls: &Tls) -> impl Iterator<Item = (String, &PathBuf)> {
    let roots = match &tls.roots {
        config::Roots::System => &[][..],
        config::Roots::Files(files) => files,
    };
    let roots = roots.iter().enumerate().map(|(n, file)| (format!("tls.roots[{n}]"), file));
    roots.chain(tls.extra_roots.iter().enumerate().map(|(n, file)| (format!("tls.extra_roots[{n}]"), file)))
}

fn refuse_roots(key: String, value: String, error: &RootsError) -> ConfigError {
    let allowed = "root certificates in PEM that this user can read".into();
    ConfigError::Key { key, value: Some(value), problem: Problem::Invalid(error.to_string()), allowed }
}

fn load_host(config: &Config) -> Result<Arc<dyn DomainKey>, Vec<ConfigError>> {
    let (folder, name) = (&config.host.certificate, &config.host.name);
    let refuse = |why: String| {
        let allowed = format!("a folder with fullchain.pem and privkey.pem, valid now and for {name}");
        let (value, problem) = (Some(format!("{:?}", folder.display().to_string())), Problem::Invalid(why));
        vec![ConfigError::Key { key: "host.certificate".to_owned(), value, problem, allowed: allowed.into() }]
    };
    let key = FileKey::load(folder).map_err(|error| refuse(error.to_string()))?;
    match wrong_with(key.facts(), name.as_str()) {
        Some(why) => Err(refuse(why)),
        None => Ok(Arc::new(key)),
    }
}

/// What is wrong with a certificate for `name`, now.
#[must_use]
pub fn wrong_with(facts: &Facts, name: &str) -> Option<String> {
    let (unix, names) = (Now::read().unix, facts.all_names().join(", "));
    if !facts.covers(name) {
        return Some(format!("the certificate is for {names}, not for {name}"));
    }
    if unix > facts.not_after {
        return Some(format!("the certificate expired at {}", date(facts.not_after)));
    }
    (unix < facts.not_before).then(|| format!("the certificate is not valid before {}", date(facts.not_before)))
}

fn load_domains(config: &Config) -> HashMap<Name, KeyOf> {
    let of = |local: &Local, domain: &Name| (domain.clone(), load_domain(&local.certificates, domain));
    config.locals.iter().flat_map(|local| local.domains.iter().map(move |domain| of(local, domain))).collect()
}

/// Why `domain` is refused now, if it is.
#[must_use]
pub fn problem(key: &KeyOf, domain: &Name) -> Option<String> {
    match key {
        Ok(key) => wrong_with(key.facts(), domain.as_str()),
        Err(why) => Some(why.clone()),
    }
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
    if !key.facts().covers(domain.as_str()) {
        let names = key.facts().all_names().join(", ");
        return Err(format!("the certificate in {} is for {names}, not for {domain}", folder.display()));
    }
    Ok(Arc::new(key))
}
