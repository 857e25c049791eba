//! Checks one complete element before anything of it is believed or forwarded.

use std::borrow::Cow;
use std::ops::Range;

mod malformed;
mod scope;

pub use malformed::Malformed;
pub use scope::Scope;

/// The root of a checked element: all that a router reads of a stanza.
///
/// Values are normalised and their references decoded; only unprefixed attributes count, besides
/// `xml:lang`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// The namespace that the root's name is in.
    pub namespace: Cow<'a, str>,
    /// The local name.
    pub name: &'a str,
    /// The root's name has a prefix.
    pub prefixed: bool,
    /// The `from` attribute.
    pub from: Option<Cow<'a, str>>,
    /// The `to` attribute.
    pub to: Option<Cow<'a, str>>,
    /// The `id` attribute.
    pub id: Option<Cow<'a, str>>,
    /// The `type` attribute.
    pub kind: Option<Cow<'a, str>>,
    /// The `xml:lang` attribute.
    pub lang: Option<Cow<'a, str>>,
    /// The element without the white space around it.
    pub(crate) span: Range<usize>,
    /// Where the root's name ends, and attributes may be added.
    pub(crate) name_end: usize,
    /// A declaration of the default namespace, with the white space before it.
    pub(crate) xmlns: Option<Range<usize>>,
    /// Bit n: the n-th prefix of the scope is used and not bound by the element itself.
    pub(crate) inherited: u8,
}

/// Checks that `bytes` are one element that may be forwarded, with white space around it at most.
///
/// # Errors
/// [`Malformed`] with the first fault.
pub fn check<'a>(_bytes: &'a [u8], _scope: &Scope) -> Result<Root<'a>, Malformed> {
    Err(Malformed::Incomplete)
}

/// Checks a start tag alone, of an element that was too large to keep.
///
/// # Errors
/// [`Malformed`] with the first fault.
pub fn check_head<'a>(_head: &'a [u8], _scope: &Scope) -> Result<Root<'a>, Malformed> {
    Err(Malformed::Incomplete)
}
