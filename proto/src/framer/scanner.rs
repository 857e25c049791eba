//! Follows the markup of one element, to know where it ends; whether it is right is the checker's task.

use memchr::{memchr, memchr3};

use super::FramingError;

/// What follows the `<` of the one piece of markup with `!` that may stand in an element.
const CDATA: &[u8] = b"![CDATA[";

/// A machine that is fed an element in any pieces, and keeps none of it.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// Start tags whose end tags are still to come.
    depth: usize,
    /// Bytes looked at so far.
    length: usize,
    /// The last of them.
    last: u8,
    /// Where the first start tag ended.
    head: Option<usize>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Character data, or the `<` behind it.
    Text,
    /// The byte that tells what kind of markup it is.
    Markup,
    /// A start tag, outside of quotes.
    StartTag,
    /// An attribute's value in these quotes.
    Quoted(u8),
    /// An end tag.
    EndTag,
    /// The opening of a CDATA section, of which so many bytes were right.
    Opening(usize),
    /// A CDATA section.
    Cdata(Brackets),
}

/// How many `]` a CDATA section ends with so far.
#[derive(Clone, Copy, Debug)]
enum Brackets {
    None,
    One,
    TwoOrMore,
}

/// A stretch of bytes that was looked at.
enum Step {
    /// So many bytes, and the next one belongs to something else.
    Within(usize),
    /// So many bytes, with the end of a tag as the last one.
    TagEnd(usize),
}

impl Scanner {
    /// Stands before the `<` of a top-level start tag.
    pub(super) fn new() -> Self {
        Self { state: State::Text, depth: 0, length: 0, last: b' ', head: None }
    }

    /// How many bytes of the element were looked at.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// How long the element's start tag is; `None` while it goes on.
    pub(super) fn head(&self) -> Option<usize> {
        self.head
    }

    /// Looks at the next bytes, as far as the element goes; true at its end.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<bool, FramingError> {
        self.scan_to(bytes, 0)
    }

    /// Looks at the next bytes, as far as the element's start tag goes; true at its end.
    pub(super) fn scan_head(&mut self, bytes: &[u8]) -> Result<bool, FramingError> {
        self.scan_to(bytes, usize::MAX)
    }

    /// Stops behind the first tag after which no more than `depth` elements are open.
    fn scan_to(&mut self, bytes: &[u8], depth: usize) -> Result<bool, FramingError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (length, is_tag_end) = match self.step(rest)? {
                Step::Within(length) => (length, false),
                Step::TagEnd(length) => (length, true),
            };
            self.last = rest[length - 1];
            self.length += length;
            rest = &rest[length..];
            if is_tag_end {
                self.head.get_or_insert(self.length);
                if self.depth <= depth {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Looks at one byte or more of `bytes`, which are not empty.
    fn step(&mut self, bytes: &[u8]) -> Result<Step, FramingError> {
        match self.state {
            State::Text => Ok(self.skip_to(memchr(b'<', bytes), bytes, State::Markup)),
            State::Quoted(quote) => Ok(self.skip_to(memchr(quote, bytes), bytes, State::StartTag)),
            State::Markup => self.markup(bytes[0]),
            State::StartTag => Ok(self.start_tag(bytes)),
            State::EndTag => Ok(self.end_tag(bytes)),
            State::Opening(right) => self.opening(bytes[0], right),
            State::Cdata(Brackets::None) => Ok(self.skip_to(memchr(b']', bytes), bytes, State::Cdata(Brackets::One))),
            State::Cdata(brackets) => Ok(self.cdata_end(bytes[0], brackets)),
        }
    }

    /// Steps behind what was `found`, into the state `next`; or over all there is.
    fn skip_to(&mut self, found: Option<usize>, bytes: &[u8], next: State) -> Step {
        match found {
            Some(at) => {
                self.state = next;
                Step::Within(at + 1)
            }
            None => Step::Within(bytes.len()),
        }
    }

    fn markup(&mut self, byte: u8) -> Result<Step, FramingError> {
        self.state = match byte {
            b'/' if self.depth > 0 => State::EndTag,
            b'!' if self.depth > 0 => State::Opening(1),
            b'!' | b'?' => return Err(FramingError::Restricted),
            b'/' | b'>' | b'\'' | b'"' => return Err(FramingError::NotWellFormed),
            _ => State::StartTag,
        };
        Ok(Step::Within(1))
    }

    fn start_tag(&mut self, bytes: &[u8]) -> Step {
        let Some(at) = memchr3(b'>', b'\'', b'"', bytes) else { return Step::Within(bytes.len()) };
        if bytes[at] != b'>' {
            self.state = State::Quoted(bytes[at]);
            return Step::Within(at + 1);
        }
        let before = if at == 0 { self.last } else { bytes[at - 1] };
        self.depth += usize::from(before != b'/');
        self.state = State::Text;
        Step::TagEnd(at + 1)
    }

    fn end_tag(&mut self, bytes: &[u8]) -> Step {
        let Some(at) = memchr(b'>', bytes) else { return Step::Within(bytes.len()) };
        self.depth -= 1;
        self.state = State::Text;
        Step::TagEnd(at + 1)
    }

    fn opening(&mut self, byte: u8, right: usize) -> Result<Step, FramingError> {
        if byte != CDATA[right] {
            return Err(FramingError::Restricted);
        }
        self.state = if right + 1 == CDATA.len() { State::Cdata(Brackets::None) } else { State::Opening(right + 1) };
        Ok(Step::Within(1))
    }

    fn cdata_end(&mut self, byte: u8, brackets: Brackets) -> Step {
        self.state = match (byte, brackets) {
            (b'>', Brackets::TwoOrMore) => State::Text,
            (b']', Brackets::None) => State::Cdata(Brackets::One),
            (b']', Brackets::One | Brackets::TwoOrMore) => State::Cdata(Brackets::TwoOrMore),
            _ => State::Cdata(Brackets::None),
        };
        Step::Within(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the element in `text` ends, however it is cut in two; that it never matters is asserted.
    fn end_of(text: &str) -> Result<Option<usize>, FramingError> {
        let mut whole = Scanner::new();
        let found = whole.scan(text.as_bytes()).map(|ended| ended.then_some(whole.length()));
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let mut scanner = Scanner::new();
            let ended = scanner.scan(first).and_then(|ended| if ended { Ok(true) } else { scanner.scan(second) });
            assert_eq!(ended.map(|ended| ended.then_some(scanner.length())), found, "{text} cut at {cut}");
        }
        found
    }

    #[test]
    fn an_element_ends_where_its_own_end_tag_does() {
        for element in [
            "<a/>",
            "<a></a>",
            "<a ></a\n>",
            "<a b='/'>x</a>",
            "<a b='/>' c=\"'></a>\"><a/><b c=\">\"/></a>",
            "<a>]]></a>",
            "<a><![CDATA[</a>]] >]>]x]]]></a>",
            "<a><![CDATA[]]></a>",
        ] {
            assert_eq!(end_of(element), Ok(Some(element.len())), "{element}");
            assert_eq!(end_of(&format!("{element}<b/>")), Ok(Some(element.len())), "{element}");
            assert_eq!(end_of(&element[..element.len() - 1]), Ok(None), "{element}");
        }
    }

    #[test]
    fn what_a_stream_must_not_carry_is_refused_at_once() {
        for text in ["<!-- -->", "<?x?>", "<!DOCTYPE", "<![CDATA[", "<a><!--", "<a><?", "<a><![CDATa", "<a><! "] {
            assert_eq!(end_of(text), Err(FramingError::Restricted), "{text}");
        }
        for text in ["</a>", "<>", "<'", "<a><\">"] {
            assert_eq!(end_of(text), Err(FramingError::NotWellFormed), "{text}");
        }
    }

    #[test]
    fn the_head_is_the_first_start_tag() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.scan(b"<a b='>'"), Ok(false));
        assert_eq!(scanner.head(), None);
        assert_eq!(scanner.scan(b"><c/></a>"), Ok(true));
        assert_eq!(scanner.head(), Some(9));
        let mut scanner = Scanner::new();
        assert_eq!(scanner.scan_head(b"<a b='>'><c>"), Ok(true));
        assert_eq!(scanner.length(), 9);
    }
}
