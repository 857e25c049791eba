//! XMPP addresses, as far as a router reads them: the domain decides where a stanza goes.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use crate::checker::{is, run_length};
use crate::name::{self, InvalidName};

/// The longest localpart or resourcepart, in bytes (RFC 7622 §3.3, §3.4).
const PART_BYTES: usize = 1023;

/// Why a string is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJid {
    /// There is an `@` with nothing before it, or more than 1023 bytes.
    #[error("a localpart has 1 to 1023 bytes")]
    Localpart,
    /// There is a `/` with nothing behind it, or more than 1023 bytes.
    #[error("a resourcepart has 1 to 1023 bytes")]
    Resourcepart,
    /// The domainpart is no name that we route by.
    #[error("{0}")]
    Domain(#[from] InvalidName),
}

/// The domainpart of `jid`, normalised; borrowed where it is in that form already.
///
/// The order of the cuts matters (RFC 7622 §3.2): a resource may hold `@` and `/`, so that in
/// `a.lit/b@c.lit` the domain is `a.lit`.
///
/// # Errors
/// [`InvalidJid`] names the part that is wrong.
pub fn domain_of(jid: &str) -> Result<Cow<'_, str>, InvalidJid> {
    let bare = match cut_at(b'/', jid) {
        Some((bare, resource)) if has_part_length(resource) => bare,
        Some(_) => return Err(InvalidJid::Resourcepart),
        None => jid,
    };
    let domain = match cut_at(b'@', bare) {
        Some((localpart, domain)) if has_part_length(localpart) => domain,
        Some(_) => return Err(InvalidJid::Localpart),
        None => bare,
    };
    Ok(name::normalise(domain)?)
}

/// Where the domainpart of an address stands that is an attribute's value, if a look is enough: it is in normal
/// form, and no reference or white space before it could be something else. What nearly every stanza has.
///
/// `text` goes on behind the address, `length` bytes from its beginning, with what is of no name.
#[inline(never)]
pub(crate) fn normal_domain(text: &[u8], length: usize) -> Option<Range<usize>> {
    let marks = |part| is(part, b'@') | is(part, b'/') | is(part, b'&');
    let bare = run_length(text, marks).min(length);
    let start = match text.get(bare)? {
        b'@' if (1..=PART_BYTES).contains(&bare) => bare + 1,
        b'/' => 0,
        _ if bare == length => 0,
        _ => return None,
    };
    let end = start + name::normal_length(text.get(start..)?);
    let is_whole = match text.get(end)? {
        b'/' => (1..=PART_BYTES).contains(&length.wrapping_sub(end + 1)),
        _ => end == length,
    };
    (is_whole && end > start).then_some(start..end)
}

/// `str::split_once` for an ASCII character; every stanza has two addresses, and this is faster.
fn cut_at(ascii: u8, text: &str) -> Option<(&str, &str)> {
    let at = memchr(ascii, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn has_part_length(part: &str) -> bool {
    (1..=PART_BYTES).contains(&part.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_what_is_left_between_at_and_slash() {
        for jid in ["saramago.lit", "jose@saramago.lit", "saramago.lit/x", "jose@saramago.lit/lisboa"] {
            assert_eq!(domain_of(jid).as_deref(), Ok("saramago.lit"), "{jid}");
        }
        assert_eq!(domain_of("jose@Saramago.LIT.").as_deref(), Ok("saramago.lit"));
        assert!(matches!(domain_of("jose@saramago.lit/x"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_resource_cannot_pose_as_a_domain() {
        assert_eq!(domain_of("evil.lit/jose@saramago.lit").as_deref(), Ok("evil.lit"));
        assert_eq!(domain_of("jose@evil.lit/@saramago.lit/x").as_deref(), Ok("evil.lit"));
    }

    /// What is found at a glance is what the long way finds in the address that is meant.
    #[test]
    fn a_glance_finds_no_other_domain() {
        let references = [("&#47;", "/"), ("&#64;", "@"), ("&#46;", "."), ("&amp;", "&"), ("&#10;", "\n")];
        let meant = |raw: &str| references.iter().fold(raw.to_owned(), |text, (from, to)| text.replace(from, to));
        let marks =
            ["@", "/", ".", "-", "..", "A", "1", "é", " ", "b.lit"].into_iter().chain(references.map(|of| of.0));
        let ends = ["'", "' to='x@c.lit' id='0123456789'>"];
        let mut found = 0;
        for jid in ["a.lit", "x@a.lit", "x@a.lit/y", "a.lit/x@b.lit", "o.x@a-rather-long-name.of-a-domain.lit/resource"]
        {
            let places = (0..=jid.len()).flat_map(|at| marks.clone().map(move |mark| (at, mark)));
            for ((at, mark), end) in places.flat_map(|place| ends.map(|end| (place, end))) {
                let raw = format!("{}{mark}{}", &jid[..at], &jid[at..]);
                let text = format!("{raw}{end}");
                let Some(domain) = normal_domain(text.as_bytes(), raw.len()) else { continue };
                assert_eq!(domain_of(&meant(&raw)).as_deref(), Ok(&raw[domain]), "{raw}");
                found += 1;
            }
        }
        assert!(found > 500, "{found}");
    }

    #[test]
    fn empty_and_overlong_parts_are_refused() {
        assert_eq!(domain_of("@saramago.lit"), Err(InvalidJid::Localpart));
        assert_eq!(domain_of("saramago.lit/"), Err(InvalidJid::Resourcepart));
        assert_eq!(domain_of(""), Err(InvalidJid::Domain(InvalidName::Empty)));
        assert_eq!(domain_of("jose@"), Err(InvalidJid::Domain(InvalidName::Empty)));
        assert_eq!(domain_of("/x"), Err(InvalidJid::Domain(InvalidName::Empty)));
        let long = "a".repeat(PART_BYTES + 1);
        assert_eq!(domain_of(&format!("{long}@a.lit")), Err(InvalidJid::Localpart));
        assert_eq!(domain_of(&format!("a.lit/{long}")), Err(InvalidJid::Resourcepart));
        assert!(domain_of(&format!("{0}@a.lit/{0}", &long[1..])).is_ok());
    }

    #[test]
    fn one_look_finds_what_the_long_way_finds() {
        let found = |jid: &str| {
            let text = format!("{jid}' to='a@b/c'>");
            normal_domain(text.as_bytes(), jid.len()).map(|domain| text[domain].to_owned())
        };
        for jid in ["saramago.lit", "jose@saramago.lit", "saramago.lit/x", "jose@saramago.lit/l@i/s&#98;oa"] {
            assert_eq!(found(jid).as_deref(), Some("saramago.lit"), "{jid}");
        }
        for jid in [
            "",
            "@a.lit",
            "a.lit/",
            "a@",
            "a@/x",
            "A.lit",
            "a@b@c.lit",
            "a.lit.",
            "a..lit",
            "x&#64;a.lit",
            "a&#47;b@c.lit",
        ] {
            assert_eq!(found(jid), None, "{jid}");
        }
        let long = "a".repeat(PART_BYTES + 1);
        assert_eq!((found(&format!("{long}@a.lit")), found(&format!("a.lit/{long}"))), (None, None));
    }

    #[test]
    fn a_second_at_is_no_part_of_a_domain() {
        assert!(matches!(domain_of("a@b@saramago.lit"), Err(InvalidJid::Domain(_))));
        assert!(matches!(domain_of("jose@192.0.2.1"), Err(InvalidJid::Domain(InvalidName::Address))));
    }
}
