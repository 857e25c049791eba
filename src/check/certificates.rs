//! Certificates: those of the host and of every domain.

use heteronym_actors::crypto::KeyOf;
use heteronym_net::certificate::date;
use heteronym_net::clock::Now;
use heteronym_net::keys::DomainKey;
use heteronym_net::trust::Untrusted;
use heteronym_proto::name::Name;

use super::finding::{Finding, Level};
use crate::certificates::{Certificates, problem};
use crate::config::Config;

/// Days before the end from which it is an error, and a warning.
const ERROR_DAYS: u64 = 7;
const WARNING_DAYS: u64 = 21;
/// Seconds.
const DAY: u64 = 24 * 3600;

pub(super) fn findings(config: &Config, certificates: &Certificates) -> Vec<Finding> {
    let host = Ok(std::sync::Arc::clone(&certificates.host));
    let of_host = of(&config.host.name, &host, certificates);
    let domains = config.locals.iter().flat_map(|local| &local.domains);
    let of_domains = domains.filter_map(|domain| Some((domain, certificates.domains.get(domain)?)));
    of_host.into_iter().chain(of_domains.filter_map(|(domain, key)| of(domain, key, certificates))).collect()
}

/// What is wrong with one certificate, the worst only.
fn of(name: &Name, key: &KeyOf, certificates: &Certificates) -> Option<Finding> {
    if let Some(why) = problem(key, name) {
        let advice = "put a certificate for this name, its chain and its key into the folder, then reload";
        return Some(Finding::error(name, "the certificate cannot be used", why, advice));
    }
    let key = key.as_ref().ok()?;
    let untrusted = certificates.roots.check(key.chain(), name.as_str(), Now::read().unix);
    untrusted.err().map(|why| not_trusted(name, &why)).or_else(|| ends_soon(name, key.as_ref()))
}

fn not_trusted(name: &Name, why: &Untrusted) -> Finding {
    match why {
        Untrusted::UnknownIssuer { alone: true, .. } => {
            let advice = "put the intermediate behind the certificate in fullchain.pem, as certbot does";
            Finding::error(name, "the intermediate certificate is missing", why, advice)
        }
        other => {
            let advice = "get a certificate from an authority that peers trust, or add yours to tls.extra_roots";
            Finding::error(name, "the certificate is not trusted", other, advice)
        }
    }
}

fn ends_soon(name: &Name, key: &dyn DomainKey) -> Option<Finding> {
    let end = key.facts().not_after;
    let left = end.saturating_sub(Now::read().unix);
    let level = match left {
        left if left < ERROR_DAYS * DAY => Level::Error,
        left if left < WARNING_DAYS * DAY => Level::Warning,
        _ => return None,
    };
    let problem = format!("the certificate ends in {} days", left / DAY);
    let why = format!("after {} its pairs end and the domain is refused", date(end));
    Some(Finding::new(level, name, &problem, why, "renew it, then reload: heteronym takes it over while it runs"))
}
