//! The elements that a block of a stream begins with, each read as far as it is needed.

use memchr::memrchr;

use super::quick::Quick;
use super::shape::Seen;
use super::{Checker, Root, Scope, Shapes, chars, legal_text};

/// Checks the stanzas at the beginning of a block that may be cut anywhere.
pub(crate) struct Elements<'a> {
    text: &'a str,
    /// Where the last one ended.
    at: usize,
    quick: Quick<'a>,
    checker: Checker<'a>,
    shapes: &'a mut Shapes,
    scope: Scope,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(block: &'a [u8], scope: &Scope, shapes: &'a mut Shapes) -> Self {
        let text = legal_prefix(block);
        // Behind the last bracket no element ends: what is begun there nobody has to look at.
        let ends = memrchr(b'>', text.as_bytes()).map_or(0, |last| last + 1);
        let text = text.get(..ends).unwrap_or_default();
        Self { text, at: 0, quick: Quick::new(text), checker: Checker::new(text, scope), shapes, scope: *scope }
    }

    /// A root of which nothing is known yet.
    #[inline(always)]
    pub(crate) fn root(&self) -> Root<'a> {
        Root::new(self.text, self.scope.default_namespace().into())
    }

    /// Reads the root of the next element; whether there is one that is whole and right.
    #[inline(always)]
    pub(crate) fn read_next(&mut self, root: &mut Root<'a>) -> bool {
        match self.shapes.look(root, self.at) {
            Seen::Known => {}
            Seen::Cut => return false,
            Seen::Unknown => match self.read_unknown() {
                Some(read) => *root = read,
                None => return false,
            },
        }
        self.at = root.span.range().end;
        true
    }

    #[inline(never)]
    fn read_unknown(&mut self) -> Option<Root<'a>> {
        self.quick.seek(self.at);
        if let Some(root) = self.quick.element(&self.scope) {
            self.shapes.learn(&root);
            return Some(root);
        }
        if self.quick.is_cut() {
            return None;
        }
        self.checker.cursor.seek(self.at);
        self.checker.element().ok()
    }
}

/// What the first two passes leave of a block that may be cut anywhere: all of it before the first fault.
fn legal_prefix(bytes: &[u8]) -> &str {
    legal_text(bytes).unwrap_or_else(|_| {
        let valid = simdutf8::compat::from_utf8(bytes).map_or_else(|fault| fault.valid_up_to(), str::len);
        let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
        text.split(|c| !chars::is_legal(c)).next().unwrap_or_default()
    })
}
