//! The DNS records that lead other servers to this host.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::json;

use crate::config::Config;

/// Seconds for which resolvers may keep a record.
const TTL: u32 = 3600;

/// One record.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Record {
    name: String,
    ttl: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

/// The SRV records of every domain of `config`, as a fragment of a zone file.
///
/// A listener that is off gets no records.
#[must_use]
pub fn fragment(config: &Config) -> String {
    let mut lines = vec![format!("; SRV records for the domains that {} serves", config.host.name)];
    lines.extend(records(config).map(|Record { name, ttl, kind, priority, weight, port, target }| {
        format!("{name}. {ttl} IN {kind} {priority} {weight} {port} {target}.")
    }));
    lines.join("\n") + "\n"
}

/// The same as a JSON document.
#[must_use]
pub fn document(config: &Config) -> String {
    let records: Vec<_> = records(config).collect();
    format!("{:#}\n", json!({"host": config.host.name.as_str(), "records": records}))
}

fn records(config: &Config) -> impl Iterator<Item = Record> {
    let services = [("_xmpp-federation._tcp", &config.listen.federation), ("_xmpp-server._tcp", &config.listen.s2s)];
    let target = config.host.name.to_string();
    let domains = config.locals.iter().flat_map(|local| &local.domains);
    domains.flat_map(move |domain| {
        let target = target.clone();
        let open = services.into_iter().filter_map(|(service, listener)| Some((service, port(listener)?)));
        open.map(move |(service, port)| Record {
            name: format!("{service}.{domain}"),
            ttl: TTL,
            kind: "SRV",
            priority: 5,
            weight: 0,
            port,
            target: target.clone(),
        })
    })
}

fn port(listener: &[SocketAddr]) -> Option<u16> {
    listener.first().map(SocketAddr::port)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = "host = { name = 'xmpp.my.isp' }\n[[local]]\nname = 'a'\ndomains = ['saramago.lit', 'b.lit']\n\
                          attach = { kind = 'component', secret = 'x' }\n";

    #[test]
    fn every_domain_leads_to_the_host() {
        let config = Config::parse(CONFIG, Path::new("")).unwrap();
        let expected = "; SRV records for the domains that xmpp.my.isp serves\n\
             _xmpp-federation._tcp.saramago.lit. 3600 IN SRV 5 0 5270 xmpp.my.isp.\n\
             _xmpp-server._tcp.saramago.lit. 3600 IN SRV 5 0 5269 xmpp.my.isp.\n\
             _xmpp-federation._tcp.b.lit. 3600 IN SRV 5 0 5270 xmpp.my.isp.\n\
             _xmpp-server._tcp.b.lit. 3600 IN SRV 5 0 5269 xmpp.my.isp.\n";
        assert_eq!(fragment(&config), expected);
    }

    #[test]
    fn a_listener_that_is_off_has_no_records() {
        let config = Config::parse(&format!("listen = {{ s2s = [] }}\n{CONFIG}"), Path::new("")).unwrap();
        assert!(!fragment(&config).contains("_xmpp-server"));
    }
}
