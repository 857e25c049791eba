//! References, and attribute values with their references decoded.

use std::borrow::Cow;

use memchr::memchr;

use super::Malformed;
use super::chars::{is, is_legal, is_low, name_length, run_length};

/// The character that the reference at the beginning of `text` stands for, and the reference's length.
///
/// Only the five entities of XML itself exist (XML 1.0 §4.1, §4.6; RFC 6120 §11.1).
pub(super) fn read(text: &str) -> Result<(char, usize), Malformed> {
    let end = memchr(b';', text.as_bytes()).ok_or(Malformed::Reference)?;
    let name = text.get(1..end).ok_or(Malformed::Reference)?;
    let c = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => match name.strip_prefix('#') {
            Some(number) => numbered(number)?,
            None if name_length(name, 0) == name.len() && !name.is_empty() => return Err(Malformed::Entity),
            None => return Err(Malformed::Reference),
        },
    };
    Ok((c, end + 1))
}

fn numbered(number: &str) -> Result<char, Malformed> {
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if digits.is_empty() {
        return Err(Malformed::Reference);
    }
    // Leading zeros are legal in any number, so the length says nothing; saturating keeps what is too
    // large too large.
    let code = digits.chars().try_fold(0_u32, |code, digit| {
        digit.to_digit(radix).map(|digit| code.saturating_mul(radix).saturating_add(digit))
    });
    code.and_then(char::from_u32).filter(|&c| is_legal(c)).ok_or(Malformed::Reference)
}

/// An attribute's value as an application sees it (XML 1.0 §2.11, §3.3.3); borrowed where that is how
/// it was written.
#[inline]
pub(super) fn normalised(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    // Of the characters below the blank, only white space is legal.
    let is_normal = run_length(raw.as_bytes(), |bytes| is(bytes, b'&') | is_low(bytes)) == raw.len();
    if is_normal { Ok(Cow::Borrowed(raw)) } else { normalise(raw).map(Cow::Owned) }
}

fn normalise(raw: &str) -> Result<String, Malformed> {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let (c, length) = match c {
            '&' => read(rest)?,
            '\r' if rest.starts_with("\r\n") => (' ', 2),
            '\r' | '\n' | '\t' => (' ', 1),
            _ => (c, c.len_utf8()),
        };
        value.push(c);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_decoded() {
        for (text, c) in [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&apos;", '\''), ("&quot;", '"')] {
            assert_eq!(read(text), Ok((c, text.len())));
        }
        assert_eq!(read("&#65;b"), Ok(('A', 5)));
        assert_eq!(read("&#x1f600;"), Ok(('\u{1f600}', 9)));
        assert_eq!(read("&#x10FFFF;"), Ok(('\u{10ffff}', 10)));
        assert_eq!(read("&#000000000000000000000000000000000065;"), Ok(('A', 39)));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let cases = [
            "&",
            "&;",
            "&amp",
            "& amp;",
            "&amp ;",
            "&#;",
            "&#x;",
            "&#X41;",
            "&#+65;",
            "&#-1;",
            "&#6a;",
            "&# 65;",
            "&#x 41;",
            "&#xg;",
            "&#0;",
            "&#x0;",
            "&#1;",
            "&#xB;",
            "&#xD800;",
            "&#57343;",
            "&#xFFFE;",
            "&#xffff;",
            "&#x110000;",
            "&#4294967361;",
            "&#18446744073709551681;",
            "&#x10000000000000041;",
            "&%a;",
            "&1;",
        ];
        for text in cases {
            assert_eq!(read(text), Err(Malformed::Reference), "{text}");
        }
    }

    #[test]
    fn other_entities_do_not_exist() {
        for text in ["&nbsp;", "&AMP;", "&Lt;", "&x;"] {
            assert_eq!(read(text), Err(Malformed::Entity), "{text}");
        }
    }

    #[test]
    fn values_are_normalised() {
        assert!(matches!(normalised("a b"), Ok(Cow::Borrowed("a b"))));
        assert_eq!(normalised("a\r\nb\rc\nd\te").as_deref(), Ok("a b c d e"));
        assert_eq!(normalised("a&#13;&#10;&#9;b&amp;lt;").as_deref(), Ok("a\r\n\tb&lt;"));
    }
}
