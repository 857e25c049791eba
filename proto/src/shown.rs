//! Addresses in log lines: no more of them than the operator allows (`log.jids`).
//!
//! It is about the addresses of users. Names of domains and hosts alone are shown everywhere.

use std::fmt;

/// How much of an address a log line may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jids {
    /// All of it.
    #[default]
    Full,
    /// The domain.
    Domain,
    /// Nothing.
    None,
}

impl Jids {
    /// `jid` as a log line may show it.
    #[must_use]
    pub fn show(self, jid: &str) -> Shown<'_> {
        Shown { jid, how: self }
    }
}

/// An address that displays as much of itself as the configuration allows.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    jid: &'a str,
    how: Jids,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            Jids::Full => f.write_str(self.jid),
            Jids::Domain => f.write_str(domain(self.jid)),
            Jids::None => f.write_str("…"),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The domain part (RFC 7622 §3.2): the resource, which may hold an `@`, goes first.
fn domain(jid: &str) -> &str {
    let bare = jid.split_once('/').map_or(jid, |(bare, _)| bare);
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_what_is_allowed() {
        let jid = "ricardo@reis.lit/odes@home";
        assert_eq!(Jids::Full.show(jid).to_string(), jid);
        assert_eq!(Jids::Domain.show(jid).to_string(), "reis.lit");
        assert_eq!(Jids::Domain.show("reis.lit").to_string(), "reis.lit");
        assert_eq!(Jids::None.show(jid).to_string(), "…");
        assert_eq!(format!("{:?}", Jids::Domain.show(jid)), "reis.lit", "no way round");
    }
}
