//! Stanzas that are built before the load begins: in each, only its number is written anew.

use memchr::memmem;

use crate::Failure;
use crate::drive::draw::Draw;

/// Digits of a number, with leading zeros.
const DIGITS: usize = 12;
/// What comes before the number.
const START: &[u8] = b"<message id='";
/// Where the number ends.
const NUMBERED: usize = START.len() + DIGITS;
/// What a stanza ends with.
const END: &[u8] = b"</message>";
/// Bytes of what arrived that a message of an error shows.
const SHOWN: usize = 400;

/// One stanza for each pair, all of the same length.
pub struct Stanzas {
    bytes: usize,
    texts: Vec<u8>,
}

/// What stands at the beginning of what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole stanza of ours.
    Stanza {
        /// Its number.
        n: u64,
        /// Its pair.
        pair: usize,
        /// How many bytes it takes.
        length: usize,
    },
    /// Blanks between stanzas, so many.
    Blank(usize),
    /// The rest of it is still to come.
    Part,
}

impl Stanzas {
    /// A stanza of `bytes` bytes for each pair `(from, to)` of domains.
    ///
    /// # Errors
    /// If so few bytes do not hold the addresses.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, bytes: usize) -> Result<Self, Failure> {
        let mut texts = Vec::new();
        for (from, to) in pairs {
            let zero = "0".repeat(DIGITS);
            let head =
                format!("<message id='{zero}' type='chat' from='jose@{from}/tower' to='fernando@{to}/desk'><body>");
            let tail = b"</body></message>";
            let body = bytes.checked_sub(head.len() + tail.len()).filter(|body| *body > 0);
            let body = body.ok_or_else(|| {
                format!("--bytes {bytes}: a stanza from {from} to {to} needs {} at least", head.len() + tail.len() + 1)
            })?;
            texts.extend_from_slice(head.as_bytes());
            texts.resize(texts.len() + body, b'x');
            texts.extend_from_slice(tail);
        }
        Ok(Self { bytes, texts })
    }

    /// Bytes of each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn of(&self, pair: usize) -> &[u8] {
        &self.texts[pair * self.bytes..][..self.bytes]
    }

    /// Appends stanza `n`, of `pair`.
    pub fn append(&self, out: &mut Vec<u8>, pair: usize, n: u64) {
        let at = out.len() + START.len();
        out.extend_from_slice(self.of(pair));
        write_number(&mut out[at..at + DIGITS], n);
    }

    /// What `read` begins with. A stanza as we built it is recognised by comparing; one that a server has
    /// written anew by its number, addresses and body.
    ///
    /// # Errors
    /// If it is something else: with its text.
    pub fn find(&self, draw: &Draw, read: &[u8]) -> Result<Found, Failure> {
        if let Some(stanza) = read.get(..self.bytes)
            && stanza.starts_with(START)
            && let Some(n) = read_number(&stanza[START.len()..NUMBERED])
            && let Some(pair) = draw.pair(n)
            && stanza[NUMBERED..] == self.of(pair)[NUMBERED..]
        {
            return Ok(Found::Stanza { n, pair, length: self.bytes });
        }
        self.find_rewritten(draw, read)
    }

    fn find_rewritten(&self, draw: &Draw, read: &[u8]) -> Result<Found, Failure> {
        let blanks = read.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if blanks > 0 || read.is_empty() {
            return Ok(if blanks > 0 { Found::Blank(blanks) } else { Found::Part });
        }
        let name = b"<message";
        let known = name.len().min(read.len());
        if read[..known] != name[..known] {
            return Err(format!("no stanza of ours arrived: {}", shown(read)).into());
        }
        let Some(end) = memmem::find(read, END) else { return Ok(Found::Part) };
        let stanza = &read[..end + END.len()];
        let (n, pair) = self.recognise(draw, stanza).ok_or_else(|| format!("it came back: {}", shown(stanza)))?;
        Ok(Found::Stanza { n, pair, length: stanza.len() })
    }

    /// Number and pair of a stanza in a server's own words.
    fn recognise(&self, draw: &Draw, stanza: &[u8]) -> Option<(u64, usize)> {
        let tag_end = memchr::memchr(b'>', stanza)?;
        let tag = &stanza[..tag_end];
        if memmem::find(tag, b"type='error'").or_else(|| memmem::find(tag, b"type=\"error\"")).is_some() {
            return None;
        }
        let id = memmem::find(tag, b" id=")? + b" id='".len();
        let n = read_number(tag.get(id..id + DIGITS)?)?;
        let pair = draw.pair(n)?;
        let mut expected = self.of(pair)[NUMBERED..].split(|byte| matches!(byte, b'\'' | b'>' | b'<'));
        let addresses = expected.by_ref().filter(|part| part.contains(&b'@')).take(2);
        let same = addresses.into_iter().all(|address| memmem::find(tag, address).is_some());
        let body = self.of(pair).split(|byte| *byte == b'>').find(|part| part.ends_with(b"</body"))?;
        (same && memmem::find(stanza, body).is_some()).then_some((n, pair))
    }
}

fn shown(read: &[u8]) -> String {
    String::from_utf8_lossy(&read[..read.len().min(SHOWN)]).into_owned()
}

const PAIRS_OF_DIGITS: &[u8; 200] =
    b"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

fn write_number(out: &mut [u8], mut n: u64) {
    for two in out.chunks_exact_mut(2).rev() {
        let at = (n % 100) as usize * 2;
        n /= 100;
        two.copy_from_slice(&PAIRS_OF_DIGITS[at..at + 2]);
    }
}

fn read_number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Stanzas {
        Stanzas::new([("a.lit", "b.lit"), ("a.lit", "c.lit")].into_iter(), 200).unwrap()
    }

    fn built(n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        two().append(&mut out, (n % 2) as usize, n);
        out
    }

    #[test]
    fn a_stanza_has_its_length_and_its_number() {
        let text = built(123_456_789_013);
        assert_eq!(text.len(), 200);
        assert!(
            text.starts_with(
                b"<message id='123456789013' type='chat' from='jose@a.lit/tower' to='fernando@c.lit/desk'>"
            )
        );
        let found = two().find(&Draw::even(2), &text).unwrap();
        assert_eq!(found, Found::Stanza { n: 123_456_789_013, pair: 1, length: 200 });
    }

    #[test]
    fn too_few_bytes_are_refused() {
        assert!(Stanzas::new([("a.lit", "b.lit")].into_iter(), 100).is_err());
    }

    #[test]
    fn parts_and_blanks_are_no_stanzas_yet() {
        let (text, draw) = (built(7), Draw::even(2));
        for length in [0, 1, 5, 13, 100, 199] {
            assert_eq!(two().find(&draw, &text[..length]).unwrap(), Found::Part, "{length} bytes");
        }
        assert_eq!(two().find(&draw, b" \n<mess").unwrap(), Found::Blank(2));
    }

    #[test]
    fn what_a_server_wrote_anew_is_recognised() {
        let body = "x".repeat(200 - built(0).iter().position(|byte| *byte == b'x').unwrap() - 17);
        let text = format!(
            "<message xml:lang=\"en\" to=\"fernando@b.lit/desk\" from=\"jose@a.lit/tower\" type=\"chat\" \
             id=\"000000000004\"><body>{body}</body></message><message"
        );
        let found = two().find(&Draw::even(2), text.as_bytes()).unwrap();
        assert_eq!(found, Found::Stanza { n: 4, pair: 0, length: text.len() - 8 });
        for (from, to) in [("b.lit", "d.lit"), ("x</body>", "</body>"), ("0004", "0005"), ("chat", "error")] {
            let altered = text.replacen(from, to, 1);
            assert!(two().find(&Draw::even(2), altered.as_bytes()).is_err(), "{altered}");
        }
    }

    #[test]
    fn an_altered_stanza_is_refused() {
        let mut text = built(1);
        text[150] = b'y';
        assert!(two().find(&Draw::even(2), &text).is_err());
    }

    #[test]
    fn the_end_of_a_stream_is_refused_with_its_text() {
        let refused = two().find(&Draw::even(2), b"<stream:error><conflict/>").unwrap_err().to_string();
        assert!(refused.contains("<conflict/>"), "{refused}");
    }
}
