//! What becomes of a question: the deciding part, without sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_server::proto::op::Query;
use hickory_server::proto::rr::{DNSClass, Name, RecordType};

/// What is done about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Led to the one server.
    Steer,
    /// Answered that there is none.
    Absent,
    /// Answered with the address that the name is.
    Address(IpAddr),
    /// Asked of others.
    Forward,
}

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The service by which servers find each other.
    Servers,
    /// A service by which a server could find another one without us.
    PastUs,
    /// An address, written as a name.
    Address(IpAddr),
    /// Below such a name; nobody else knows it.
    BelowAddress,
    /// Anything else.
    Others,
}

/// What becomes of `question`.
///
/// `_xmpp-client` is others': a client or a gateway on this machine wants the real server of its account,
/// and the router carries no client's stream.
pub(super) fn decide(question: &Query) -> Way {
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return Way::Forward;
    }
    let (owner, asked) = (owner(question.name()), question.query_type());
    let asks_for = |kind| asked == kind || asked == RecordType::ANY;
    match owner {
        Owner::Servers if asks_for(RecordType::SRV) => Way::Steer,
        Owner::Address(IpAddr::V4(address)) if asks_for(RecordType::A) => Way::Address(address.into()),
        Owner::Address(IpAddr::V6(address)) if asks_for(RecordType::AAAA) => Way::Address(address.into()),
        Owner::Servers | Owner::PastUs | Owner::Address(_) | Owner::BelowAddress => Way::Absent,
        Owner::Others => Way::Forward,
    }
}

/// The name that is written like `address`: an SRV target has to be a name, and ejabberd resolves it with
/// getaddrinfo, which takes this one for the address that it is, and asks no name server.
pub(super) fn as_name(address: IpAddr) -> Name {
    let text = address.to_string();
    let labels: Vec<&[u8]> = match address {
        IpAddr::V4(_) => text.split('.').map(str::as_bytes).collect(),
        IpAddr::V6(_) => vec![text.as_bytes()],
    };
    // No label of an address is empty or longer than 63 bytes: there is nothing to fall back to.
    Name::from_labels(labels).unwrap_or_default()
}

fn owner(name: &Name) -> Owner {
    let labels: Vec<&[u8]> = name.iter().collect();
    match labels.as_slice() {
        [service, protocol, _, ..] if is(service, "_xmpp-server") && is(protocol, "_tcp") => Owner::Servers,
        [service, protocol, ..] if leads_past_us(service) && protocol.starts_with(b"_") => Owner::PastUs,
        _ => of_address(&labels),
    }
}

fn is(label: &[u8], word: &str) -> bool {
    label.eq_ignore_ascii_case(word.as_bytes())
}

/// `_xmpps-server` (XEP-0368) and whatever the next transport is called; our own service; and what
/// servers had before RFC 3920, which jabberd2 still asks for.
fn leads_past_us(service: &[u8]) -> bool {
    let service = service.to_ascii_lowercase();
    let of_servers = service.starts_with(b"_xmpp") && service.ends_with(b"-server");
    of_servers || service == b"_xmpp-federation" || service == b"_jabber"
}

fn of_address(labels: &[&[u8]]) -> Owner {
    let split = |last: usize| labels.split_at(labels.len().saturating_sub(last));
    let (below_four, four) = split(4);
    let (below_six, six) = split(1);
    let found = parsed::<Ipv4Addr>(four).map(|address| (below_four, address.into()));
    match found.or_else(|| parsed::<Ipv6Addr>(six).map(|address| (below_six, address.into()))) {
        Some(([], address)) => Owner::Address(address),
        Some(_) => Owner::BelowAddress,
        None => Owner::Others,
    }
}

fn parsed<A: FromStr>(labels: &[&[u8]]) -> Option<A> {
    str::from_utf8(&labels.join(&b'.')).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(name: &str, kind: RecordType) -> Way {
        decide(&Query::query(Name::from_ascii(name).unwrap(), kind))
    }

    fn of_address(address: &str, kind: RecordType) -> Way {
        decide(&Query::query(as_name(address.parse().unwrap()), kind))
    }

    #[test]
    fn every_domain_is_led_to_the_one_server() {
        for domain in ["pessoa.lit", "chat.pessoa.lit", "lit", "127.0.0.1", "xn--bcher-kva.lit"] {
            for kind in [RecordType::SRV, RecordType::ANY] {
                assert_eq!(way(&format!("_xmpp-server._tcp.{domain}."), kind), Way::Steer, "{domain} {kind}");
            }
        }
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(way("_XMPP-Server._tCP.Pessoa.LIT.", RecordType::SRV), Way::Steer);
        assert_eq!(way("_XmppS-sErver._TCP.pessoa.lit.", RecordType::SRV), Way::Absent);
    }

    #[test]
    fn what_would_lead_past_us_is_absent() {
        for service in ["_xmpps-server._tcp", "_xmpp-federation._tcp", "_jabber._tcp", "_xmppq-server._udp"] {
            for kind in [RecordType::SRV, RecordType::CNAME, RecordType::A, RecordType::HTTPS, RecordType::ANY] {
                assert_eq!(way(&format!("{service}.pessoa.lit."), kind), Way::Absent, "{service} {kind}");
            }
        }
        assert_eq!(way("_xmpp-server._udp.pessoa.lit.", RecordType::SRV), Way::Absent);
        assert_eq!(way("_xmpp-server._tcp.", RecordType::SRV), Way::Absent, "of no domain");
    }

    /// An alias or an address there would be believed as well.
    #[test]
    fn there_is_nothing_but_the_record_at_its_name() {
        for kind in [RecordType::CNAME, RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::TXT] {
            assert_eq!(way("_xmpp-server._tcp.pessoa.lit.", kind), Way::Absent, "{kind}");
        }
    }

    #[test]
    fn an_address_as_a_name_is_that_address() {
        for (address, kind, other) in
            [("127.0.0.1", RecordType::A, RecordType::AAAA), ("::1", RecordType::AAAA, RecordType::A)]
        {
            let expected = Way::Address(address.parse().unwrap());
            assert_eq!(of_address(address, kind), expected);
            assert_eq!(of_address(address, RecordType::ANY), expected);
            assert_eq!(of_address(address, other), Way::Absent, "of the other family");
            assert_eq!(of_address(address, RecordType::TXT), Way::Absent);
        }
        assert_eq!(way("_5268._tcp.127.0.0.1.", RecordType::TLSA), Way::Absent, "below it");
        assert_eq!(way("127.0.0.1", RecordType::A), Way::Address("127.0.0.1".parse().unwrap()), "without its dot");
    }

    #[test]
    fn all_else_is_asked_of_others() {
        let names = [
            ".",
            "lit.",
            "pessoa.lit.",
            "_tcp.pessoa.lit.",
            "_xmpp-client._tcp.pessoa.lit.",
            "_xmpps-client._tcp.pessoa.lit.",
            "_xmppconnect.pessoa.lit.",
            "_xmpp-server.pessoa.lit.",
            "a._xmpp-server._tcp.pessoa.lit.",
            "xmpp-server._tcp.pessoa.lit.",
            "_sip._tcp.pessoa.lit.",
            "1.0.0.127.in-addr.arpa.",
            "0.0.1.",
            "127.0.0.256.",
            "127.0.0.01.",
        ];
        for name in names {
            for kind in [RecordType::SRV, RecordType::A, RecordType::SOA, RecordType::Unknown(65_280)] {
                assert_eq!(way(name, kind), Way::Forward, "{name} {kind}");
            }
        }
    }

    #[test]
    fn another_class_is_not_ours() {
        let mut question = Query::query(Name::from_ascii("_xmpp-server._tcp.lit.").unwrap(), RecordType::SRV);
        question.set_query_class(DNSClass::CH);
        assert_eq!(decide(&question), Way::Forward);
    }

    #[test]
    fn an_address_is_written_as_it_is_typed() {
        let labels = |address: &str| as_name(address.parse().unwrap()).iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(labels("127.0.0.1"), [b"127".to_vec(), b"0".to_vec(), b"0".to_vec(), b"1".to_vec()]);
        assert_eq!(labels("2001:db8::1"), [b"2001:db8::1".to_vec()]);
    }
}
