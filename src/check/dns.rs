//! DNS: do the records of every hosted domain lead here?

use std::collections::BTreeMap;

use heteronym_net::dns::{DnsError, Resolver, SrvAnswer};
use heteronym_proto::name::Name;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::finding::Finding;
use crate::config::Config;

const SERVICE: &str = "_xmpp-federation._tcp";
/// Look-ups at once.
const AT_ONCE: usize = 64;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let found = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(look_up(config)));
    found.unwrap_or_else(|why| {
        vec![Finding::error("dns.servers", "no look-up is possible", why, "name resolvers in dns.servers")]
    })
}

async fn look_up(config: &Config) -> Result<Vec<Finding>, String> {
    let resolver = Resolver::new(&config.dns.servers).map_err(|error| error.to_string())?;
    let domains: Vec<Name> = config.locals.iter().flat_map(|local| local.domains.clone()).collect();
    let (mut findings, mut targets) = (Vec::new(), BTreeMap::new());
    for some in domains.chunks(AT_ONCE) {
        for (domain, answer) in records(&resolver, some).await {
            findings.extend(of_records(&domain, &answer, config));
            let names = answer.into_iter().flat_map(|answer| answer.records).map(|record| record.target);
            targets.extend(names.map(|target| (target, domain.clone())));
        }
    }
    for (target, domain) in targets {
        findings.extend(of_target(&target, &domain, resolver.addresses(&target).await));
    }
    Ok(findings)
}

/// The answers about some domains, in their order.
async fn records(resolver: &Resolver, domains: &[Name]) -> BTreeMap<Name, Result<SrvAnswer, DnsError>> {
    let mut asked = JoinSet::new();
    for domain in domains.iter().cloned() {
        let resolver = resolver.clone();
        asked.spawn(async move {
            let answer = resolver.srv(SERVICE, domain.as_str()).await;
            (domain, answer)
        });
    }
    asked.join_all().await.into_iter().collect()
}

fn of_records(domain: &Name, answer: &Result<SrvAnswer, DnsError>, config: &Config) -> Option<Finding> {
    let subject = format!("{SERVICE}.{domain}");
    let advice = "publish the records that `heteronym dns` prints";
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let advice = "see whether the name servers of the zone answer, and those of dns.servers";
            return Some(Finding::error(subject, "the look-up failed", error, advice));
        }
    };
    if answer.records.is_empty() {
        let why = "without it, nobody finds this host for the domain";
        return Some(Finding::error(subject, "the record is missing", why, advice));
    }
    if answer.records.iter().any(|record| record.target == config.host.name.as_str()) {
        return None;
    }
    let targets: Vec<_> = answer.records.iter().map(|record| record.target.as_str()).collect();
    let why = format!("it names {}, not {}", targets.join(", "), config.host.name);
    Some(Finding::error(subject, "the record leads elsewhere", why, advice))
}

fn of_target(target: &str, domain: &Name, addresses: Result<Vec<std::net::IpAddr>, DnsError>) -> Option<Finding> {
    let why = match addresses {
        Ok(addresses) if !addresses.is_empty() => return None,
        Ok(_) => format!("{SERVICE}.{domain} leads to it, and it has neither A nor AAAA records"),
        Err(error) => error.to_string(),
    };
    let advice = "publish its A and AAAA records; an SRV target must not be an alias";
    Some(Finding::error(target, "the target has no address", why, advice))
}
