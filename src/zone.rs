//! The DNS records that lead other servers to this host.

use std::net::SocketAddr;

use crate::config::Config;

/// Seconds for which resolvers may keep a record.
const TTL: u32 = 3600;

/// The SRV records of every domain of `config`, as a fragment of a zone file.
///
/// A listener that is off gets no records.
#[must_use]
pub fn fragment(config: &Config) -> String {
    let services = [("_xmpp-federation._tcp", &config.listen.federation), ("_xmpp-server._tcp", &config.listen.s2s)];
    let mut lines = vec![format!("; SRV records for the domains that {} serves", config.host.name)];
    for domain in config.locals.iter().flat_map(|local| &local.domains) {
        for (service, port) in services.iter().filter_map(|(service, listener)| Some((service, port(listener)?))) {
            lines.push(format!("{service}.{domain}. {TTL} IN SRV 5 0 {port} {}.", config.host.name));
        }
    }
    lines.join("\n") + "\n"
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
