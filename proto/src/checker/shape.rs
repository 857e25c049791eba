//! What elements look like: one that differs from another in values and text alone is read by looking at these.
//!
//! A stream brings the same few forms over and over. [`Shape`] keeps what stands between the values and texts of
//! an element that was found plain; where the next one has the same there, it is as right as that one was, if its
//! values and texts are what they may be in a plain element. It may only say yes; everything else is for
//! [`Quick`](super::Quick) to read.

use memchr::memchr;
use wide::u8x16;

use super::chars::{is, long_run_length, padded, run_length};
use super::cursor::{key, place};
use super::quick::ENTITIES;
use super::{Place, Root, Span};

/// Shapes that a stream remembers.
const SHAPES: usize = 8;
/// Steps of one.
const STEPS: usize = 64;
/// Once there are as many, one of so many elements that look like none of them is remembered.
const LEARNT: u8 = 8;
/// Bytes that are compared together.
const LANES: usize = 16;

/// The shapes of the elements that a stream brought.
#[derive(Debug, Default)]
pub struct Shapes {
    known: Vec<Shape>,
    /// The one that was seen last.
    last: usize,
    /// Elements that looked like none, since one was remembered.
    unknown: u8,
    /// The one that gives way to the next.
    oldest: usize,
}

/// What an element looks like.
#[derive(Debug)]
struct Shape {
    steps: Vec<Step>,
    name_length: usize,
    attributes: usize,
}

/// Bytes that are the same in every element of a shape, and what comes behind them.
#[derive(Debug)]
struct Step {
    bytes: [u8; LANES],
    length: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// More of the kind, or the end.
    Nothing,
    /// A value within such quotes; of the root, which.
    Value(u8, Option<Place>),
    Text,
}

/// What a look at the next element tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is one of a known shape.
    Known,
    /// The text ends within it.
    Cut,
    /// It has to be read.
    Unknown,
}

impl Shapes {
    /// Looks at the element that begins at a place of a legal text, whose root is told the rest of it.
    #[inline]
    pub(super) fn look(&mut self, root: &mut Root<'_>, at: usize) -> Seen {
        let Some(last) = self.known.get(self.last) else { return Seen::Unknown };
        match last.look(root, at) {
            Seen::Unknown => self.look_further(root, at),
            seen @ (Seen::Known | Seen::Cut) => seen,
        }
    }

    fn look_further(&mut self, root: &mut Root<'_>, at: usize) -> Seen {
        for (n, shape) in self.known.iter().enumerate().filter(|(n, _)| *n != self.last) {
            root.places = [None; 6];
            match shape.look(root, at) {
                Seen::Unknown => {}
                seen @ (Seen::Known | Seen::Cut) => {
                    self.last = n;
                    return seen;
                }
            }
        }
        Seen::Unknown
    }

    /// Remembers what an element looks like that was found plain and was not known.
    pub(super) fn learn(&mut self, root: &Root<'_>) {
        let is_full = self.known.len() == SHAPES;
        self.unknown = (self.unknown + 1) % LEARNT;
        if is_full && self.unknown != 0 {
            return;
        }
        let Some(shape) = Shape::of(root) else { return };
        if is_full {
            self.last = self.oldest;
            self.oldest = (self.oldest + 1) % SHAPES;
            self.known[self.last] = shape;
        } else {
            self.last = self.known.len();
            self.known.push(shape);
        }
    }
}

impl Shape {
    /// What a plain element looks like; `None` for one that is not worth it.
    fn of(root: &Root<'_>) -> Option<Self> {
        let element = &root.text.as_bytes()[root.span.range()];
        let mut shape = Self { steps: Vec::new(), name_length: root.name.len(), attributes: root.attributes };
        let (mut at, mut seen) = (0, 0);
        while at < element.len() && shape.steps.len() <= STEPS {
            let is_root = at == 0;
            // Within a tag.
            while let Some(mark) = element[at..].iter().position(|byte| matches!(byte, b'\'' | b'"' | b'>')) {
                let mark = at + mark;
                at = mark + 1;
                if element[mark] == b'>' {
                    break;
                }
                let end = at + memchr(element[mark], &element[at..])?;
                let name = element[..mark - 1].rsplit(|byte| *byte == b' ').next()?;
                if !name.starts_with(b"xmlns") {
                    let place = Place::of(key(name), name.len()).filter(|_| is_root);
                    shape.add(&element[seen..at], Then::Value(element[mark], place));
                    seen = end;
                }
                at = end + 1;
            }
            let text = memchr(b'<', &element[at..]).unwrap_or_default();
            if text > 0 {
                shape.add(&element[seen..at], Then::Text);
                seen = at + text;
            }
            at += text;
        }
        shape.add(&element[seen..], Then::Nothing);
        (shape.steps.len() <= STEPS).then_some(shape)
    }

    fn add(&mut self, literal: &[u8], then: Then) {
        let step = |bytes: &[u8]| Step { bytes: padded(bytes), length: bytes.len(), then: Then::Nothing };
        self.steps.extend(literal.chunks(LANES).map(step));
        if let Some(last) = self.steps.last_mut() {
            last.then = then;
        }
    }

    /// Whether the element at a place of the text of `root` looks so; the root is told the rest.
    #[inline(always)]
    fn look(&self, root: &mut Root<'_>, start: usize) -> Seen {
        let (bytes, mut at) = (root.text.as_bytes(), start);
        for step in &self.steps {
            let rest = &bytes[at..];
            if !step.begins(rest) {
                return step.unless_cut(rest);
            }
            let rest = &rest[step.length..];
            at += step.length;
            at += match step.then {
                Then::Nothing => 0,
                Then::Value(quote, which) => {
                    let length = value_length(rest, quote);
                    if let Some(which) = which {
                        root.put(which, Span::new(place(at), place(at + length)));
                    }
                    length
                }
                Then::Text => text_length(rest),
            };
        }
        root.span = Span::new(place(start), place(at));
        root.name_end = start + 1 + self.name_length;
        root.name = root.text.get(start + 1..root.name_end).unwrap_or_default();
        root.attributes = self.attributes;
        Seen::Known
    }
}

impl Step {
    /// Whether this is what `rest` begins with.
    #[inline(always)]
    fn begins(&self, rest: &[u8]) -> bool {
        let Some(theirs) = rest.first_chunk() else { return self.begins_short(rest) };
        let same = u8x16::new(self.bytes).simd_eq(u8x16::new(*theirs)).to_bitmask();
        same.trailing_ones() as usize >= self.length
    }

    #[cold]
    fn begins_short(&self, rest: &[u8]) -> bool {
        rest.starts_with(&self.bytes[..self.length])
    }

    /// Something else stands there, unless the text ends within it.
    #[cold]
    fn unless_cut(&self, rest: &[u8]) -> Seen {
        if self.bytes[..self.length].starts_with(rest) { Seen::Cut } else { Seen::Unknown }
    }
}

/// How many bytes of a value come before its quote, or before what no plain value has.
#[inline(always)]
fn value_length(bytes: &[u8], quote: u8) -> usize {
    run_length(bytes, |part| is(part, quote) | is(part, b'<') | is(part, b'&'))
}

/// How many bytes of text come before the next tag, or before what no plain text has.
#[inline(always)]
fn text_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += long_run_length(&bytes[at..], |part| is(part | u8x16::splat(b'<' ^ b'>'), b'>') | is(part, b'&'));
        if bytes.get(at) != Some(&b'&') {
            return at;
        }
        match ENTITIES.iter().find(|entity| bytes[at..].starts_with(entity)) {
            Some(entity) => at += entity.len(),
            None => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scope, check};
    use super::*;

    const FORMS: [&str; 5] = [
        "<message id='1' type='chat' from='a@a.lit/x' to='b@b.lit'><body>text</body></message>",
        "<presence from=\"a@a.lit\" to=\"b@b.lit\" xml:lang='pt'><show>away</show><priority>1</priority></presence>",
        "<iq from='a.lit' id='1' to='b.lit' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        "<message to='b.lit' from='a.lit'><x xmlns='jabber:x:data' type='form'><field var='a-rather-long-name'>\
         <value>1</value></field></x>\n</message>",
        "<iq from='a.lit' to='b.lit' type='result' id='1'/>",
    ];

    fn shapes(form: &str) -> Shapes {
        let mut shapes = Shapes::default();
        shapes.learn(&check(form.as_bytes(), &Scope::SERVER).unwrap());
        shapes
    }

    fn look<'a>(shapes: &mut Shapes, text: &'a str) -> (Seen, Root<'a>) {
        let mut root = Root::new(text, Scope::SERVER.default_namespace().into());
        (shapes.look(&mut root, 0), root)
    }

    #[test]
    fn other_values_and_texts_are_of_the_same_shape() {
        for (form, other) in [
            (FORMS[0], FORMS[0].replace("='1'", "='\"4711'").replace("chat", "").replace("text", "it's &lt; \"é\"")),
            (FORMS[1], FORMS[1].replace("away", "").replace("a@a.lit", "o'neill@a.lit")),
            (FORMS[2], FORMS[2].replace("='get'", "='set'").replace("b.lit", &"b".repeat(2000))),
            (FORMS[3], FORMS[3].replace('\n', "\t ").replace("form", "submit")),
            (FORMS[4], FORMS[4].replace("a.lit", "a.lit/>")),
        ] {
            let (seen, root) = look(&mut shapes(form), &other);
            assert_eq!((seen, Ok(root)), (Seen::Known, check(other.as_bytes(), &Scope::SERVER)), "{other}");
        }
    }

    /// What is found to be of a known shape, the checker finds to be the same.
    #[test]
    fn no_change_of_a_byte_or_two_makes_it_take_what_is_wrong() {
        let marks =
            ["", "'", "\"", "<", ">", "&", "&lt;", "&#9;", "]]>", "/", "=", " ", "a", "x='", "é", "<a/>", "<!--"];
        for form in FORMS {
            let mut shapes = shapes(form);
            let places = (0..form.len()).flat_map(|from| [0, 1, 2].map(|removed| (from, from + removed)));
            for ((from, to), mark) in places.flat_map(|place| marks.map(|mark| (place, mark))) {
                let text = format!("{}{mark}{}", &form[..from], &form[to.min(form.len())..]);
                let (seen, root) = look(&mut shapes, &text);
                let end = root.span.range().end;
                match seen {
                    Seen::Known => {
                        let text = &text[..end];
                        assert_eq!(Ok(Root { text, ..root }), check(text.as_bytes(), &Scope::SERVER));
                    }
                    Seen::Cut => assert!(check(text.as_bytes(), &Scope::SERVER).is_err(), "{text}"),
                    Seen::Unknown => {}
                }
            }
        }
    }

    #[test]
    fn a_text_that_ends_within_an_element_is_cut() {
        for form in FORMS {
            let mut shapes = shapes(form);
            for end in 0..form.len() {
                assert_eq!(look(&mut shapes, &form[..end]).0, Seen::Cut, "{}", &form[..end]);
            }
        }
    }

    #[test]
    fn declarations_are_no_values() {
        let other = FORMS[2].replace("disco#info", "disco#items");
        assert_eq!(look(&mut shapes(FORMS[2]), &other).0, Seen::Unknown);
    }

    #[test]
    fn a_stream_remembers_so_many_and_forgets_the_oldest() {
        let mut shapes = Shapes::default();
        let form = |n: usize| format!("<message a{n}=''/>");
        let learn = |shapes: &mut Shapes, n| shapes.learn(&check(form(n).as_bytes(), &Scope::SERVER).unwrap());
        (0..SHAPES).for_each(|n| learn(&mut shapes, n));
        assert!((0..SHAPES).all(|n| look(&mut shapes, &form(n)).0 == Seen::Known));
        (0..LEARNT.into()).for_each(|_| learn(&mut shapes, SHAPES));
        let known: Vec<_> = (0..=SHAPES).filter(|n| look(&mut shapes, &form(*n)).0 == Seen::Known).collect();
        assert_eq!(known, (1..=SHAPES).collect::<Vec<_>>());
        assert_eq!(shapes.known.len(), SHAPES);
    }
}
