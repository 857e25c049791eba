//! What stands at the beginning of a stream, checked as strictly as what follows.

use std::borrow::Cow;

use super::{Checker, Malformed, Root, Scope, legal_text};

/// Names as they were written, with the values normalised.
pub(crate) type Values<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// An XML declaration and a start tag.
pub(crate) struct Opening<'a> {
    /// What the declaration states, if there is one.
    pub(crate) declaration: Option<Values<'a>>,
    /// The start tag, in a scope where nothing is bound but by itself.
    pub(crate) root: Root<'a>,
    /// All of its attributes.
    pub(crate) attributes: Values<'a>,
}

/// Checks an XML declaration, if there is one, and the start tag of an element with content.
pub(crate) fn check_opening(bytes: &[u8]) -> Result<Opening<'_>, Malformed> {
    let mut checker = Checker::new(legal_text(bytes)?, &Scope::new("", &[]));
    let declaration = checker.declaration()?;
    let root = checker.root()?;
    if checker.open.is_empty() {
        return Err(Malformed::Tag);
    }
    checker.end()?;
    Ok(Opening { declaration, root, attributes: checker.values()? })
}

impl<'a> Checker<'a> {
    fn declaration(&mut self) -> Result<Option<Values<'a>>, Malformed> {
        if !self.cursor.eat("<?xml") {
            return Ok(None);
        }
        self.cursor.declaration(&mut self.attributes)?;
        self.values().map(Some)
    }

    fn values(&self) -> Result<Values<'a>, Malformed> {
        self.attributes.iter().map(|one| Ok((self.cursor.whole(one.name), self.cursor.value(one)?))).collect()
    }
}
