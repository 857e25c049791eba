//! Where a domain's server is: both kinds of SRV records as one list (RFC 6120 §3.2, XEP-0368).

use crate::limits::CANDIDATES;

/// The port of servers whose domain has no record.
const PORT: u16 = 5269;

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its DNS name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS comes first; else STARTTLS.
    pub direct_tls: bool,
}

/// Why there is nothing to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its records say that it has no XMPP service for servers")]
pub struct NotOffered;

/// The servers of `domain` in the order in which to try them. `records` are those of both services in
/// that order: target, port, and whether they are of `_xmpps-server`. A target of `.` says that its service
/// is not offered (RFC 2782): of direct TLS, that it is STARTTLS. Without any record of `_xmpp-server`, and
/// no other server, the domain itself is tried (RFC 6120 §3.2.2). Of very many, the first are tried.
///
/// # Errors
/// [`NotOffered`] where the records of `_xmpp-server` say so, and there is no other server.
pub fn candidates<'a>(
    domain: &str,
    records: impl IntoIterator<Item = (&'a str, u16, bool)>,
) -> Result<Vec<Candidate>, NotOffered> {
    let mut denied = false;
    let mut found = Vec::new();
    for (host, port, direct_tls) in records {
        denied |= host == "." && !direct_tls;
        if host != "." {
            found.push(Candidate { host: host.to_owned(), port, direct_tls });
        }
    }
    found.truncate(CANDIDATES);
    match (found.is_empty(), denied) {
        (false, _) => Ok(found),
        (true, true) => Err(NotOffered),
        (true, false) => Ok(vec![Candidate { host: domain.to_owned(), port: PORT, direct_tls: false }]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_records_are_one_list() {
        let found = candidates("pessoa.lit", [("a.lit", 5270, true), (".", 0, true), ("b.lit", 5269, false)]).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.host.as_str(), one.port, one.direct_tls)).collect();
        assert_eq!(found, [("a.lit", 5270, true), ("b.lit", 5269, false)]);
    }

    #[test]
    fn of_very_many_the_first_are_tried() {
        let ports: Vec<u16> = (1..=64).collect();
        let found = candidates("pessoa.lit", ports.iter().map(|port| ("a.lit", *port, false))).unwrap();
        assert_eq!((found.len(), found[0].port), (CANDIDATES, 1));
    }

    #[test]
    fn without_records_the_domain_itself_is_tried() {
        let itself = Candidate { host: "pessoa.lit".to_owned(), port: 5269, direct_tls: false };
        assert_eq!(candidates("pessoa.lit", []), Ok(vec![itself]));
    }

    #[test]
    fn a_dot_says_no() {
        assert_eq!(candidates("pessoa.lit", [(".", 0, false)]), Err(NotOffered));
        assert_eq!(candidates("pessoa.lit", [(".", 0, false), (".", 0, true)]), Err(NotOffered));
        let without_direct_tls = candidates("pessoa.lit", [(".", 0, true)]);
        assert_eq!(without_direct_tls, candidates("pessoa.lit", []), "STARTTLS is not denied");
    }
}
