//! Writes text into XML so that the checker accepts it and reads the same text back.

use std::ops::RangeInclusive;

/// Appends ` name='value'`.
pub(crate) fn push_attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    push_text(out, value);
    out.push(b'\'');
}

/// Appends `text` as character data; it is right between either kind of quotes as well.
///
/// White space other than the blank becomes references, because a reader normalises it in attributes
/// and carriage returns everywhere (XML 1.0 §2.11, §3.3.3). What XML cannot carry becomes U+FFFD.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    // Nearly all texts are plain. No short cut at the first byte that is not: so it takes many bytes at a time.
    if !text.bytes().fold(false, |found, byte| found | may_need_escape(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        if let Some(c) = chars.next() {
            out.extend_from_slice(replacement(c).as_bytes());
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The control characters that XML 1.0 §2.2 leaves out, the three of white space among them.
const CONTROLS: RangeInclusive<char> = '\0'..='\x1f';

/// U+FFFE and U+FFFF begin with 0xEF.
fn may_need_escape(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'&' | b'<' | b'>' | b'\'' | b'"' | 0xef)
}

fn needs_escape(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '\'' | '"' | '\u{fffe}' | '\u{ffff}') || CONTROLS.contains(&c)
}

fn replacement(c: char) -> &'static str {
    match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '\'' => "&apos;",
        '"' => "&quot;",
        '\t' => "&#9;",
        '\n' => "&#10;",
        '\r' => "&#13;",
        _ => "\u{fffd}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        push_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("a<b>&'\"c"), "a&lt;b&gt;&amp;&apos;&quot;c");
        assert_eq!(escaped("é\t\r\n€"), "é&#9;&#13;&#10;€");
        assert_eq!(escaped(""), "");
    }

    #[test]
    fn what_xml_cannot_carry_is_replaced() {
        assert_eq!(escaped("a\0b\u{ffff}"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn an_attribute_cannot_be_left() {
        let mut out = Vec::new();
        push_attribute(&mut out, "to", "x' from='y");
        assert_eq!(out, b" to='x&apos; from=&apos;y'");
    }
}
