//! Characters: which are legal, which are white space, and which make names.

use memchr::memchr_iter;
use wide::u8x16;

use super::names;

/// How many bytes are looked at together; the compiler makes vector instructions of it.
const LANES: usize = 64;

const BEGINS_NAME: u8 = 1;
const CONTINUES_NAME: u8 = 2;
const NOT_ASCII: u8 = 4;

/// What a byte may be in a name without a colon (Namespaces §3, NCName).
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => BEGINS_NAME | CONTINUES_NAME,
            b'0'..=b'9' | b'-' | b'.' => CONTINUES_NAME,
            0x80.. => NOT_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// White space as XML has it (XML 1.0 §2.3); Unicode's other blanks are none.
pub(crate) const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether XML allows the character (XML 1.0 §2.2).
pub(super) const fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Whether XML allows every character of `text`.
///
/// In valid UTF-8 only control characters, U+FFFE and U+FFFF are left to be excluded.
pub(super) fn are_legal(text: &str) -> bool {
    let bytes = text.as_bytes();
    !has_control(bytes) && !memchr_iter(0xef, bytes).any(|at| is_noncharacter(&bytes[at..]))
}

/// Whether there is nothing but the printable characters of ASCII: what most text is.
pub(super) fn are_printable(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    let (mut least, mut most) = ([b' '; LANES], [b' '; LANES]);
    // Without a branch, so that it is vectorised.
    for chunk in chunks {
        for (at, &byte) in chunk.iter().enumerate() {
            least[at] = least[at].min(byte);
            most[at] |= byte;
        }
    }
    let is_printable = |byte: &u8| matches!(byte, b' '..0x80);
    least.iter().chain(&most).chain(rest).all(is_printable)
}

fn has_control(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    // Without a branch per byte, so that it is vectorised. White space but the blank is rare enough.
    let has_low = |chunk: &[u8; LANES]| chunk.iter().fold(false, |found, &byte| found | (byte < b' '));
    chunks.iter().any(|chunk| has_low(chunk) && chunk.iter().copied().any(is_control))
        || rest.iter().copied().any(is_control)
}

const fn is_control(byte: u8) -> bool {
    byte < b' ' && !is_white(byte)
}

fn is_noncharacter(bytes: &[u8]) -> bool {
    bytes.starts_with("\u{fffe}".as_bytes()) || bytes.starts_with("\u{ffff}".as_bytes())
}

/// How many bytes come before the first that is one of those that `ends` marks; all of them, where none is.
#[inline(always)]
pub(crate) fn run_length(bytes: &[u8], ends: impl Fn(u8x16) -> u8x16) -> usize {
    let (chunks, rest) = bytes.as_chunks::<16>();
    for (n, chunk) in chunks.iter().enumerate() {
        let found = ends(u8x16::new(*chunk)).to_bitmask();
        if found != 0 {
            return n * 16 + found.trailing_zeros() as usize;
        }
    }
    chunks.len() * 16 + last_run(rest, ends)
}

/// The same, for what may be long: [`LANES`] bytes at a time first.
#[inline(always)]
pub(super) fn long_run_length(bytes: &[u8], ends: impl Fn(u8x16) -> u8x16) -> usize {
    let none = |chunk: &&[u8; LANES]| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| ends(u8x16::new(chunk.as_chunks().0[n])));
        (a | b | c | d).to_bitmask() == 0
    };
    let begins = LANES * bytes.as_chunks::<LANES>().0.iter().take_while(none).count();
    begins + run_length(&bytes[begins..], ends)
}

#[cold]
fn last_run(rest: &[u8], ends: impl Fn(u8x16) -> u8x16) -> usize {
    rest.len().min(ends(u8x16::new(padded(rest))).to_bitmask().trailing_zeros() as usize)
}

/// The first `N` bytes, with zeros behind fewer.
pub(crate) fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

/// Marks the bytes that are this one.
#[inline]
pub(crate) fn is(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

/// Marks the bytes from `first` to `last`.
#[inline]
pub(crate) fn is_within(bytes: u8x16, first: u8, last: u8) -> u8x16 {
    let from_first = bytes - u8x16::splat(first);
    from_first.simd_eq(from_first.min(u8x16::splat(last - first)))
}

/// Marks the bytes below the blank: in a legal text, white space.
#[inline]
pub(crate) fn is_low(bytes: u8x16) -> u8x16 {
    bytes.simd_eq(bytes.min(u8x16::splat(b' ' - 1)))
}

/// How many bytes from `start` on make a name of ASCII alone.
#[inline(always)]
pub(super) fn ascii_name_length(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    if bytes.get(at).is_some_and(|&byte| CLASSES[usize::from(byte)] & BEGINS_NAME != 0) {
        at += 1;
        while bytes.get(at).is_some_and(|&byte| CLASSES[usize::from(byte)] & CONTINUES_NAME != 0) {
            at += 1;
        }
    }
    at - start
}

/// How many bytes of `text` from `start` on make a name without a colon; 0 if none do.
#[inline(always)]
pub(super) fn name_length(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let at = start + ascii_name_length(bytes, start);
    match bytes.get(at) {
        Some(0x80..) => at - start + letters_length(text, at, at == start),
        Some(_) | None => at - start,
    }
}

/// The rest of a name, from a letter that is not of ASCII on.
#[cold]
fn letters_length(text: &str, start: usize, begins: bool) -> usize {
    let mut wanted = if begins { BEGINS_NAME } else { CONTINUES_NAME };
    let (bytes, mut at) = (text.as_bytes(), start);
    while let Some(&byte) = bytes.get(at) {
        let class = CLASSES[usize::from(byte)];
        if class & wanted != 0 {
            at += 1;
        } else if class == NOT_ASCII
            && let Some(length) = letter_length(text, at, wanted)
        {
            at += length;
        } else {
            break;
        }
        wanted = CONTINUES_NAME;
    }
    at - start
}

fn letter_length(text: &str, at: usize, wanted: u8) -> Option<usize> {
    let c = text.get(at..)?.chars().next()?;
    let fits = if wanted == BEGINS_NAME { names::may_begin(c) } else { names::may_continue(c) };
    fits.then(|| c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_legal_character_passes_in_every_lane() {
        for c in ['\t', '\n', '\r', ' ', '\u{7f}', '\u{80}', '\u{d7ff}', '\u{e000}', '\u{fffd}', '\u{10ffff}'] {
            assert!(is_legal(c), "{c:?}");
            for before in 0..2 * LANES {
                assert!(are_legal(&format!("{}{c}", "a".repeat(before))), "{c:?} after {before}");
            }
        }
    }

    #[test]
    fn every_other_character_is_found_in_every_lane() {
        for c in ('\0'..' ').filter(|c| !c.is_ascii_whitespace() || *c == '\x0c').chain(['\u{fffe}', '\u{ffff}']) {
            assert!(!is_legal(c), "{c:?}");
            for before in 0..2 * LANES {
                assert!(!are_legal(&format!("{}{c}ab", "a".repeat(before))), "{c:?} after {before}");
            }
        }
    }

    #[test]
    fn names_end_where_they_should() {
        assert_eq!(name_length("<a.b-c_1 x", 1), 7);
        assert_eq!(name_length("stream:features", 0), 6);
        assert_eq!(name_length("é·a\u{300}/>", 0), 7);
        assert_eq!(name_length("a\u{feff}", 0), 1);
    }

    #[test]
    fn what_begins_no_name_has_no_length() {
        for text in ["", "-a", ".a", "1a", ":a", "·a", "\u{300}a", "$", " a", "\u{10300}"] {
            assert_eq!(name_length(text, 0), 0, "{text:?}");
        }
        assert_eq!(name_length("a", 7), 0);
    }
}
