//! Reads the elements that nearly all stanzas are, from one quote or bracket to the next.
//!
//! It says yes to what is plain: names of ASCII without a prefix, one blank before each attribute, no reference
//! but in text, nothing deep. Whatever is different it leaves to the [`Checker`](super::Checker), which would say
//! yes as well, and find the same.

use smallvec::SmallVec;
use wide::u8x16;

use super::chars::{is, padded, run_length};
use super::cursor::{Key, bit_of, is_name_at, key_at, place};
use super::{FROM, ID, LANG, Place, Root, Scope, Span, TO, TYPE, XMLNS};

/// Steps through the elements of a text.
pub(super) struct Quick<'a> {
    text: &'a str,
    marks: Marks<'a>,
    at: usize,
    is_cut: bool,
    open: SmallVec<[Name; DEPTH]>,
}

/// Elements that are within one another.
const DEPTH: usize = 16;
/// Attributes of a tag.
const ATTRIBUTES: usize = 32;
/// Declarations of the default namespace within a stanza.
const DECLARATIONS: usize = 64;

#[derive(Clone, Copy)]
struct Name {
    key: Key,
    start: usize,
    length: usize,
}

/// How a start tag ends.
enum Start {
    Open(Name),
    Empty(Name),
}

/// The attributes that stanzas have, and the length of each name: known at a glance.
const COMMON: [(Key, usize); 4] = [(FROM, 4), (TO, 2), (TYPE, 4), (ID, 2)];

/// The attribute of a tag.
struct Attribute {
    name: Name,
    /// Where the value begins, and where it ends.
    value: (usize, usize),
}

impl<'a> Quick<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, marks: Marks::new(text.as_bytes()), at: 0, is_cut: false, open: SmallVec::new() }
    }

    /// Goes on from a place.
    pub(super) fn seek(&mut self, at: usize) {
        if at != self.at {
            self.at = at;
            self.marks.seek(at);
        }
    }

    /// Whether the text ended before the element that was asked for: nobody can read it then.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next element, with nothing before it, if it is plain.
    #[inline]
    pub(super) fn element(&mut self, scope: &Scope) -> Option<Root<'a>> {
        let mut marks = self.marks;
        let root = self.plain(&mut marks, scope);
        match root {
            Some(_) => self.marks = marks,
            None => self.is_cut = marks.is_behind_end(),
        }
        root
    }

    #[inline(always)]
    fn plain(&mut self, marks: &mut Marks<'a>, scope: &Scope) -> Option<Root<'a>> {
        let start = self.at;
        if marks.next()? != start || marks.bytes[start] != b'<' {
            return None;
        }
        let mut root = Root::new(self.text, scope.default_namespace().into());
        let (tag, mut end) = start_tag(marks, start, |attribute| {
            let (from, to) = attribute.value;
            if let Some(which) = Place::of(attribute.name.key, attribute.name.length) {
                root.put(which, Span::new(place(from), place(to)));
            }
            root.attributes += 1;
            (attribute.name.key != XMLNS).then_some(())
        })?;
        let name = match tag {
            Start::Open(name) => {
                end = self.content(marks, name)?;
                name
            }
            Start::Empty(name) => name,
        };
        (root.span, self.at) = (Span::new(place(start), place(end)), end);
        root.name_end = name.start + name.length;
        root.name = self.text.get(name.start..root.name_end)?;
        Some(root)
    }

    /// Steps over the content of an element and its end tag, to the place behind.
    #[inline(always)]
    fn content(&mut self, marks: &mut Marks<'a>, root: Name) -> Option<usize> {
        let (bytes, mut declarations, mut innermost) = (marks.bytes, 0, root);
        self.open.clear();
        loop {
            let mark = marks.next()?;
            match (bytes[mark], bytes.get(mark + 1)?) {
                (b'<', b'/') => {
                    let name = mark + 2;
                    let end = name + innermost.length + 1;
                    if !innermost.is_at(bytes, name) || marks.next()? != end - 1 || bytes[end - 1] != b'>' {
                        return None;
                    }
                    let Some(outer) = self.open.pop() else { return (declarations <= DECLARATIONS).then_some(end) };
                    innermost = outer;
                }
                (b'<', _) => {
                    let (tag, _) = start_tag(marks, mark, |attribute| {
                        declarations += usize::from(attribute.name.key == XMLNS);
                        (attribute.name.key != XMLNS || is_plain_namespace(bytes, attribute.value)).then_some(())
                    })?;
                    match tag {
                        Start::Open(name) if self.open.len() < DEPTH => {
                            self.open.push(innermost);
                            innermost = name;
                        }
                        Start::Open(_) => return None,
                        Start::Empty(_) => {}
                    }
                }
                (b'\'' | b'"' | b'#', _) => {}
                (b'>', _) if bytes[mark - 1] != b']' => {}
                (b'&', _) if ENTITIES.iter().any(|entity| bytes[mark..].starts_with(entity)) => {}
                _ => return None,
            }
        }
    }
}

/// Steps over a start tag, whose `<` was the last mark, to the place behind; shows its attributes.
#[inline(always)]
fn start_tag(
    marks: &mut Marks<'_>,
    start: usize,
    mut each: impl FnMut(Attribute) -> Option<()>,
) -> Option<(Start, usize)> {
    let bytes = marks.bytes;
    let name = Name::at(bytes, start + 1)?;
    let (mut at, mut seen, mut count) = (start + 1 + name.length, 0_u64, 0);
    loop {
        match bytes.get(at)? {
            b' ' => {
                let name = Name::of_attribute(bytes, at + 1)?;
                let quote = at + 1 + name.length + 1;
                if bytes.get(quote - 1) != Some(&b'=') || marks.next()? != quote {
                    return None;
                }
                // Names that begin alike are compared by the checker.
                let bit = bit_of(name.key);
                count += 1;
                if seen & bit != 0 || count > ATTRIBUTES {
                    return None;
                }
                seen |= bit;
                let end = value_end(marks, quote)?;
                each(Attribute { name, value: (quote + 1, end) })?;
                at = end + 1;
            }
            b'>' => {
                return (marks.next()? == at).then_some((Start::Open(name), at + 1));
            }
            b'/' => {
                let is_empty = marks.next()? == at + 1 && bytes[at + 1] == b'>';
                return is_empty.then_some((Start::Empty(name), at + 2));
            }
            _ => return None,
        }
    }
}

/// Where the value ends whose quote stands here.
#[inline(always)]
fn value_end(marks: &mut Marks<'_>, quote: usize) -> Option<usize> {
    let bytes = marks.bytes;
    let quote = bytes[quote];
    if !matches!(quote, b'\'' | b'"') {
        return None;
    }
    loop {
        let mark = marks.next()?;
        match bytes[mark] {
            byte if byte == quote => return Some(mark),
            b'<' | b'&' => return None,
            _ => {}
        }
    }
}

/// References that text may have: the entities of XML itself.
pub(super) const ENTITIES: [&[u8]; 5] = [b"&lt;", b"&gt;", b"&amp;", b"&apos;", b"&quot;"];

/// Whether a declaration of the default namespace needs no closer look: it has no white space, and is not one of
/// the two that may not be declared.
fn is_plain_namespace(bytes: &[u8], (start, end): (usize, usize)) -> bool {
    let value = &bytes[start..end];
    let length = run_length(value, |part| part.simd_eq(part.min(u8x16::splat(b' '))));
    length == value.len() && !value.starts_with(b"http://www.w3.org/")
}

impl Name {
    /// A name that begins here, of ASCII and without a colon.
    #[inline(always)]
    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let length = super::chars::ascii_name_length(bytes, start);
        (1..=super::limits::NAME_BYTES).contains(&length).then(|| Self {
            key: key_at(bytes, start, length),
            start,
            length,
        })
    }

    /// The same, or `xml:lang`.
    #[inline(always)]
    fn of_attribute(bytes: &[u8], start: usize) -> Option<Self> {
        if let Some(eight) = bytes.get(start..)?.first_chunk() {
            let eight = Key::from_le_bytes(*eight);
            for (key, length) in COMMON {
                let equals = Key::from(b'=') << (8 * length);
                if eight & ((1 << (8 * length + 8)) - 1) == key | equals {
                    return Some(Self { key, start, length });
                }
            }
        }
        let name = Self::at(bytes, start)?;
        match bytes.get(start + name.length) {
            Some(b':') if bytes[start..].starts_with(b"xml:lang=") => Some(Self { key: LANG, start, length: 8 }),
            Some(b':') | None => None,
            Some(_) => Some(name),
        }
    }

    #[inline(always)]
    fn is_at(self, bytes: &[u8], at: usize) -> bool {
        is_name_at(bytes, (self.key, self.start, self.length), at)
    }
}

/// Where the quotes, brackets and references of a text begin, and its `#`.
#[derive(Clone, Copy)]
struct Marks<'a> {
    bytes: &'a [u8],
    /// Where the 64 bytes begin that are looked at.
    base: usize,
    /// Those of them that are still to come.
    found: u64,
}

impl<'a> Marks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, found: find(bytes) }
    }

    fn seek(&mut self, at: usize) {
        self.base = at;
        self.found = find(&self.bytes[at..]);
    }

    /// Whether there was none any more when one was asked for.
    fn is_behind_end(&self) -> bool {
        self.base > self.bytes.len()
    }

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            self.base += 64;
            self.found = find(self.bytes.get(self.base..)?);
        }
        let at = self.base + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(at)
    }
}

#[cold]
fn find_in_last(bytes: &[u8]) -> u64 {
    find(&padded::<64>(bytes))
}

/// A bit for each of the first 64 bytes.
#[inline(always)]
fn find(bytes: &[u8]) -> u64 {
    let marks = |part: [u8; 16]| {
        let part = u8x16::new(part);
        let bracket = is(part | u8x16::splat(b'<' ^ b'>'), b'>');
        // These three differ in two bits; the fourth of that kind, `#`, is harmless.
        let other = is(part & u8x16::splat(!(b'"' ^ b'\'' | b'"' ^ b'&')), b'"');
        u64::from((bracket | other).to_bitmask())
    };
    match bytes.first_chunk::<64>() {
        Some(chunk) => {
            let parts = chunk.as_chunks::<16>().0;
            let [a, b, c, d] = [parts[0], parts[1], parts[2], parts[3]];
            let (low, high) = (marks(a) | marks(b) << 16, marks(c) | marks(d) << 16);
            low | high << 32
        }
        None => find_in_last(bytes),
    }
}
