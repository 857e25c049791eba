//! Addresses in log lines: no more of them than the operator allows (`log.jids`).
//!
//! It is about the addresses of users. Names of domains and hosts alone are shown everywhere.

use std::fmt::{self, Write as _};

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
            Jids::Full => write_visible(f, self.jid),
            Jids::Domain => write_visible(f, domain(self.jid)),
            Jids::None => f.write_str("…"),
        }
    }
}

/// Without control characters: an address must not begin a line of the log.
fn write_visible(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
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

    #[test]
    fn an_address_begins_no_line() {
        let jid = "a@b.lit/x\n2026-01-01 ERROR forged\u{9b}é";
        assert_eq!(Jids::Full.show(jid).to_string(), r"a@b.lit/x\n2026-01-01 ERROR forged\u{9b}é");
        assert_eq!(Jids::Domain.show("b\n.lit").to_string(), r"b\n.lit");
    }
}
