//! Why a slice is refused.

use crate::stream_error::{Condition, StreamError};

/// What is wrong with a slice that should be one element.
// A word wide: in a `Result` a single byte shares a word with the other variant's value, which is then
// copied in halves; that cost the checker a tenth of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(usize)]
pub enum Malformed {
    /// RFC 6120 §11.6.
    #[error("not UTF-8")]
    Encoding,
    /// XML 1.0 §2.2: control characters, U+FFFE, U+FFFF.
    #[error("a character that XML does not allow")]
    Character,
    /// The slice ends inside the element, or holds none.
    #[error("the element is not complete")]
    Incomplete,
    /// There is more than the one element.
    #[error("something other than white space stands around the element")]
    Surroundings,
    /// An element's or attribute's name has no valid characters or more than one colon.
    #[error("not a name")]
    Name,
    /// XML 1.0 §3.1: white space, `=`, quotes, `/` or `>` where they do not belong.
    #[error("a tag that is not well-formed")]
    Tag,
    /// An end tag that does not name the element it closes.
    #[error("an end tag that does not match")]
    EndTag,
    /// XML 1.0 §3.1, Namespaces §6.3: equal names, or different prefixes for one namespace.
    #[error("an attribute occurs twice")]
    DuplicateAttribute,
    /// A `<` in an attribute's value.
    #[error("a '<' in an attribute")]
    LessThan,
    /// A `]]>` in character data (XML 1.0 §2.4).
    #[error("a ']]>' in text")]
    CdataEnd,
    /// An `&` that begins no reference, or a reference to a character that XML does not allow.
    #[error("not a reference")]
    Reference,
    /// A reference to an entity other than the five of XML itself (RFC 6120 §11.1).
    #[error("a reference to an undefined entity")]
    Entity,
    /// A prefix that is bound neither here nor in the stream header.
    #[error("a prefix that is not bound")]
    UnboundPrefix,
    /// A declaration of a reserved prefix or name (Namespaces §3), of nothing, or with white space.
    #[error("a namespace declaration that is not allowed")]
    Declaration,
    /// A comment (RFC 6120 §11.1).
    #[error("a comment")]
    Comment,
    /// A processing instruction or a misplaced XML declaration (RFC 6120 §11.1).
    #[error("a processing instruction")]
    ProcessingInstruction,
    /// A DTD or a part of one (RFC 6120 §11.1).
    #[error("a document type declaration")]
    Doctype,
    /// Elements are nested deeper than [`limits::DEPTH`](crate::limits::DEPTH).
    #[error("elements nested too deeply")]
    Depth,
    /// More attributes in one tag than [`limits::ATTRIBUTES`](crate::limits::ATTRIBUTES).
    #[error("too many attributes")]
    Attributes,
    /// More declarations than [`limits::NAMESPACES`](crate::limits::NAMESPACES).
    #[error("too many namespaces")]
    Namespaces,
    /// A name longer than [`limits::NAME_BYTES`](crate::limits::NAME_BYTES).
    #[error("a name that is too long")]
    NameLength,
}

impl Malformed {
    /// What the other side is told before its stream ends.
    #[must_use]
    pub fn stream_error(&self) -> StreamError {
        StreamError::new(self.condition(), self.to_string())
    }

    fn condition(self) -> Condition {
        match self {
            Self::Encoding => Condition::UnsupportedEncoding,
            Self::UnboundPrefix => Condition::BadNamespacePrefix,
            Self::Entity | Self::Comment | Self::ProcessingInstruction | Self::Doctype => Condition::RestrictedXml,
            Self::Depth | Self::Attributes | Self::Namespaces | Self::NameLength => Condition::PolicyViolation,
            Self::Character
            | Self::Incomplete
            | Self::Surroundings
            | Self::Name
            | Self::Tag
            | Self::EndTag
            | Self::DuplicateAttribute
            | Self::LessThan
            | Self::CdataEnd
            | Self::Reference
            | Self::Declaration => Condition::NotWellFormed,
        }
    }
}
