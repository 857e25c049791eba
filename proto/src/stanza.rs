//! Stanzas: what a router reads of them, and how they go on unchanged (RFC 6120 §8).

use std::borrow::Cow;

use bytes::Bytes;

use crate::checker::{Elements, Malformed, Root, Scope, Shapes, check, check_head};
use crate::escape::push_attribute;
use crate::jid::{InvalidJid, domain_of, normal_domain};
use crate::limits;

/// The three kinds of stanzas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

/// One of the two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Who sends.
    From,
    /// Who is meant.
    To,
}

/// Why an address does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Between servers every stanza needs both (RFC 6120 §8.1.1.2, §8.1.2.2).
    #[error("the address is missing")]
    Missing,
    /// It is there and no JID.
    #[error("{0}")]
    Invalid(#[from] InvalidJid),
}

/// Why an element is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAStanza<'a> {
    /// It must not be on a stream at all.
    Malformed(Malformed),
    /// A checked element that is no stanza of this stream: control elements, stream features and
    /// errors, stanzas in another stream's namespace.
    OtherElement(Box<Root<'a>>),
    /// A stanza whose root has a prefix, which other servers do not expect (RFC 6120 §4.8.5).
    Prefixed(Box<Root<'a>>),
    /// A stanza that cannot be routed. Its sender may be told with [`crate::stanza_error::bounce_root`].
    Address {
        /// What was read of it.
        root: Box<Root<'a>>,
        /// Which kind of stanza it is.
        kind: Kind,
        /// The address that is wrong.
        which: Address,
        /// What is wrong with it.
        why: BadAddress,
    },
}

/// A checked stanza with the two domains that it is routed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// What was read of the root.
    pub root: Root<'a>,
    /// Which kind of stanza it is.
    pub kind: Kind,
    scope: Scope,
    from_domain: Cow<'a, str>,
    to_domain: Cow<'a, str>,
}

impl Kind {
    /// The kind whose element is called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "message" => Some(Self::Message),
            "presence" => Some(Self::Presence),
            "iq" => Some(Self::Iq),
            _ => None,
        }
    }

    /// The name of its element.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }

    /// Whether a stanza of this kind and `type` may be answered with an error (RFC 6120 §8.3.1).
    ///
    /// Neither errors nor results of an IQ are: two servers could answer each other for ever. Nor is
    /// presence that says goodbye, since nobody is there to read the answer, nor an IQ that asks nothing.
    #[must_use]
    pub fn may_be_answered(self, type_: Option<&str>) -> bool {
        match self {
            Self::Message => type_ != Some("error"),
            Self::Presence => !matches!(type_, Some("error" | "unavailable")),
            Self::Iq => matches!(type_, Some("get" | "set")),
        }
    }
}

impl Stanza<'_> {
    /// The scope that it was read in.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The sender's domain, normalised.
    #[must_use]
    pub fn from_domain(&self) -> &str {
        &self.from_domain
    }

    /// The recipient's domain, normalised.
    #[must_use]
    pub fn to_domain(&self) -> &str {
        &self.to_domain
    }

    /// The sender's address as it stands in the stanza, references decoded.
    #[must_use]
    pub fn from(&self) -> Cow<'_, str> {
        self.root.from().unwrap_or_default()
    }

    /// The recipient's address as it stands in the stanza, references decoded.
    #[must_use]
    pub fn to(&self) -> Cow<'_, str> {
        self.root.to().unwrap_or_default()
    }

    /// The `id` attribute.
    #[must_use]
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.root.id()
    }

    /// The `type` attribute.
    #[must_use]
    pub fn type_(&self) -> Option<Cow<'_, str>> {
        self.root.kind()
    }

    /// The `xml:lang` of the root itself.
    #[must_use]
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        self.root.lang()
    }

    /// Whether the stanza may be answered with an error (RFC 6120 §8.3.1).
    #[must_use]
    pub fn may_be_answered(&self) -> bool {
        self.kind.may_be_answered(self.type_().as_deref())
    }
}

/// Checks `bytes` and reads the stanza in them, on a stream that binds `scope`.
///
/// # Errors
/// [`NotAStanza`] says what it is instead.
pub fn read<'a>(bytes: &'a [u8], scope: &Scope) -> Result<Stanza<'a>, NotAStanza<'a>> {
    let root = check(bytes, scope).map_err(NotAStanza::Malformed)?;
    match judge(&root, scope) {
        Ok(Routed { kind, from_domain, to_domain }) => Ok(Stanza { root, kind, scope: *scope, from_domain, to_domain }),
        Err(Refusal::OtherElement) => Err(NotAStanza::OtherElement(Box::new(root))),
        Err(Refusal::Prefixed) => Err(NotAStanza::Prefixed(Box::new(root))),
        Err(Refusal::Malformed(malformed)) => Err(NotAStanza::Malformed(malformed)),
        Err(Refusal::Address { kind, which, why }) => {
            Err(NotAStanza::Address { root: Box::new(root), kind, which, why })
        }
    }
}

/// Reads the stanzas that a block of a stream begins with, as far as there is nothing else to be seen: the
/// end of the block, another element, or anything that is wrong. What comes then is for the
/// [framer](crate::framer) and [`read`] to tell.
///
/// So the bytes of a stanza are looked at once, and not by the framer as well.
pub struct Stanzas<'a> {
    elements: Option<Elements<'a>>,
    scope: Scope,
    taken: usize,
}

/// Bytes of a block that are looked at together: little enough that a peer gains nothing by something wrong
/// behind every stanza.
const WINDOW: usize = 16 << 10;

impl<'a> Stanzas<'a> {
    /// Stands at the beginning of a block, between two elements of a stream that binds `scope` and had elements
    /// of these shapes.
    #[must_use]
    pub fn new(block: &'a [u8], scope: &Scope, shapes: &'a mut Shapes) -> Self {
        let window = block.get(..WINDOW).unwrap_or(block);
        Self { elements: Some(Elements::new(window, scope, shapes)), scope: *scope, taken: 0 }
    }

    /// How many bytes the stanzas took, with the white space before them.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Stanza<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Stanza<'a>> {
        let elements = self.elements.as_mut()?;
        // Written where it stays: it is too large to be handed on for each stanza.
        let mut root = elements.root();
        let routed = elements.read_next(&mut root).then(|| judge(&root, &self.scope));
        let Some(Ok(Routed { kind, from_domain, to_domain })) = routed else {
            self.elements = None;
            return None;
        };
        self.taken = root.span.range().end;
        Some(Stanza { root, kind, scope: self.scope, from_domain, to_domain })
    }
}

/// What a stanza is routed by.
struct Routed<'a> {
    kind: Kind,
    from_domain: Cow<'a, str>,
    to_domain: Cow<'a, str>,
}

/// Why an element is not routed, as [`NotAStanza`].
enum Refusal {
    OtherElement,
    Prefixed,
    Malformed(Malformed),
    Address { kind: Kind, which: Address, why: BadAddress },
}

#[inline(always)]
fn judge<'a>(root: &Root<'a>, scope: &Scope) -> Result<Routed<'a>, Refusal> {
    let kind = match Kind::parse(root.name) {
        Some(kind) if root.is_of(scope) => kind,
        Some(_) | None => return Err(Refusal::OtherElement),
    };
    if root.prefixed {
        return Err(Refusal::Prefixed);
    }
    if root.attributes + root.inherited.count_ones() as usize > limits::ATTRIBUTES {
        // Forwarding may have to bind the prefixes that it inherits, and must not break the limit.
        return Err(Refusal::Malformed(Malformed::Attributes));
    }
    let domain = |which| domain(root, which).map_err(|why| Refusal::Address { kind, which, why });
    Ok(Routed { kind, from_domain: domain(Address::From)?, to_domain: domain(Address::To)? })
}

/// The root of an element that went beyond a limit further inside.
pub(crate) fn root_only<'a>(bytes: &'a [u8], scope: &Scope) -> Option<Root<'a>> {
    check_head(start_tag(bytes)?, scope).ok()
}

/// The start tag of an element, to its `>`.
pub(crate) fn start_tag(bytes: &[u8]) -> Option<&[u8]> {
    let mut quote = None;
    let end = bytes.iter().position(|&byte| {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'>') => return true,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_) | None, _) => (),
        }
        false
    })?;
    bytes.get(..=end)
}

#[inline(always)]
fn domain<'a>(root: &Root<'a>, which: Address) -> Result<Cow<'a, str>, BadAddress> {
    let place = root.place(which).ok_or(BadAddress::Missing)?;
    let normal = normal_domain(root.text.as_bytes().get(place.start..).unwrap_or_default(), place.len());
    match normal.and_then(|found| root.text.get(place.start + found.start..place.start + found.end)) {
        Some(domain) => Ok(Cow::Borrowed(domain)),
        None => unusual_domain(root, which),
    }
}

#[cold]
fn unusual_domain<'a>(root: &Root<'a>, which: Address) -> Result<Cow<'a, str>, BadAddress> {
    let address = match which {
        Address::From => root.from(),
        Address::To => root.to(),
    };
    match address.ok_or(BadAddress::Missing)? {
        Cow::Borrowed(jid) => Ok(domain_of(jid)?),
        Cow::Owned(jid) => Ok(Cow::Owned(domain_of(&jid)?.into_owned())),
    }
}

/// The bytes of `stanza` as they go to a stream that binds `to`.
///
/// They stay as they are, without a copy, wherever they mean the same there. Otherwise the root's start
/// tag is mended: it loses a declaration of its own stream's default namespace, so that it is in that of
/// `to`; it binds prefixes that it inherited and `to` does not bind alike; and it states the language that
/// it inherited (RFC 6120 §4.7.4).
#[must_use]
pub fn forward<'a>(stanza: &Stanza<'a>, to: &Scope, inherited_lang: Option<&str>) -> Cow<'a, [u8]> {
    let (root, bytes) = (&stanza.root, stanza.root.text.as_bytes());
    let xmlns = root.xmlns().filter(|_| root.namespace != to.default_namespace());
    let lang = inherited_lang.filter(|_| root.lang().is_none() && root.attributes < limits::ATTRIBUTES);
    if xmlns.is_none() && lang.is_none() && root.inherited == 0 {
        return Cow::Borrowed(stanza.bytes());
    }
    let mut added = Vec::new();
    for (prefix, namespace) in stanza.foreign_prefixes(to) {
        push_attribute(&mut added, &format!("xmlns:{prefix}"), namespace);
    }
    if let Some(lang) = lang {
        push_attribute(&mut added, "xml:lang", lang);
    }
    if added.is_empty() && xmlns.is_none() {
        return Cow::Borrowed(stanza.bytes());
    }
    let (span, removed) = (root.span.range(), xmlns.unwrap_or(root.name_end..root.name_end));
    let parts = [
        &bytes[span.start..root.name_end],
        &added,
        &bytes[root.name_end..removed.start],
        &bytes[removed.end..span.end],
    ];
    Cow::Owned(parts.concat())
}

/// [`forward`] for a stanza that was read from all of `bytes`, which it shares where nothing is mended.
#[must_use]
pub fn forward_shared(bytes: &Bytes, stanza: &Stanza<'_>, to: &Scope, inherited_lang: Option<&str>) -> Bytes {
    match forward(stanza, to, inherited_lang) {
        Cow::Borrowed(_) => bytes.slice(stanza.root.span.range()),
        Cow::Owned(mended) => mended.into(),
    }
}

impl<'a> Stanza<'a> {
    /// All of it, without the white space around it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.root.text.as_bytes()[self.root.span.range()]
    }
}

impl Stanza<'_> {
    /// The bindings of its own stream that the stanza makes use of, and that `to` has not.
    fn foreign_prefixes<'s>(&self, to: &'s Scope) -> impl Iterator<Item = (&'static str, &'static str)> + use<'s> {
        let inherited = self.root.inherited;
        let used = self.scope.prefixes().iter().enumerate().filter(move |(at, _)| inherited & (1 << at) != 0);
        used.map(|(_, &binding)| binding).filter(|binding| !to.prefixes().contains(binding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::InvalidName;

    fn forwarded(from: &Scope, stanza: &str, to: &Scope, lang: Option<&str>) -> String {
        let bytes = Bytes::from(stanza.to_owned());
        let stanza = read(&bytes, from).unwrap();
        let forwarded = forward_shared(&bytes, &stanza, to, lang);
        assert!(read(&forwarded, to).is_ok(), "what is forwarded must pass the next checker");
        String::from_utf8(forwarded.to_vec()).unwrap()
    }

    fn refusal(stanza: &str) -> NotAStanza<'_> {
        read(stanza.as_bytes(), &Scope::SERVER).unwrap_err()
    }

    #[test]
    fn a_stanza_is_read_with_its_domains() {
        let text =
            "<iq from='A@a&#46;Example/x' to='b.example' id='1' type='get' xml:lang='pt'><q xmlns='urn:q'/></iq>";
        let stanza = read(text.as_bytes(), &Scope::SERVER).unwrap();
        assert_eq!((stanza.kind, stanza.from_domain(), stanza.to_domain()), (Kind::Iq, "a.example", "b.example"));
        assert_eq!((stanza.from().as_ref(), stanza.to().as_ref()), ("A@a.Example/x", "b.example"));
        let [id, type_, lang] = [stanza.id(), stanza.type_(), stanza.lang()];
        assert_eq!((id.as_deref(), type_.as_deref(), lang.as_deref()), (Some("1"), Some("get"), Some("pt")));
    }

    #[test]
    fn only_the_stanzas_of_the_stream_are_stanzas() {
        for other in [
            "<message xmlns='jabber:component:accept' from='a.lit' to='b.lit'/>",
            "<message xmlns='jabber:client' from='a.lit' to='b.lit'/>",
            "<message xmlns='' from='a.lit' to='b.lit'/>",
            "<messages from='a.lit' to='b.lit'/>",
            "<stream:features/>",
            "<stream:message from='a.lit' to='b.lit'/>",
        ] {
            assert!(matches!(refusal(other), NotAStanza::OtherElement(_)), "{other}");
        }
        let prefixed = "<s:message xmlns:s='jabber:server' from='a.lit' to='b.lit'/>";
        assert!(matches!(refusal(prefixed), NotAStanza::Prefixed(_)));
        assert_eq!(refusal("<message>"), NotAStanza::Malformed(Malformed::Incomplete));
        assert!(read(b"<message xmlns='jabber:server' from='a.lit' to='b.lit'/>", &Scope::SERVER).is_ok());
    }

    #[test]
    fn both_addresses_are_needed() {
        let refused = |text| match refusal(text) {
            NotAStanza::Address { which, why, kind: Kind::Message, .. } => Some((which, why)),
            NotAStanza::Address { .. }
            | NotAStanza::Malformed(_)
            | NotAStanza::OtherElement(_)
            | NotAStanza::Prefixed(_) => None,
        };
        let empty = BadAddress::Invalid(InvalidJid::Domain(InvalidName::Empty));
        assert_eq!(refused("<message to='b.lit'/>"), Some((Address::From, BadAddress::Missing)));
        assert_eq!(refused("<message from='a.lit'/>"), Some((Address::To, BadAddress::Missing)));
        assert_eq!(refused("<message from='' to='b.lit'/>"), Some((Address::From, empty)));
        assert_eq!(refused("<message from='a.lit' to='b@'/>"), Some((Address::To, empty)));
        let prefixed = "<message xmlns:p='urn:p' p:from='x@a.lit' to='b.lit'/>";
        assert_eq!(refused(prefixed), Some((Address::From, BadAddress::Missing)));
    }

    #[test]
    fn bytes_go_on_without_a_copy() {
        let bytes = Bytes::from_static(b" <message from='a.lit' to='b.lit'><body>x</body></message>\n");
        let stanza = read(&bytes, &Scope::COMPONENT).unwrap();
        let forwarded = forward_shared(&bytes, &stanza, &Scope::SERVER, None);
        assert_eq!(forwarded.as_ptr(), bytes[1..].as_ptr());
        assert_eq!(forwarded, bytes.trim_ascii());
    }

    #[test]
    fn the_namespace_of_one_stream_does_not_reach_another() {
        let text = "<message\n xmlns='jabber:component:accept' from='a.lit' to='b.lit'/>";
        let expected = "<message from='a.lit' to='b.lit'/>";
        assert_eq!(forwarded(&Scope::COMPONENT, text, &Scope::SERVER, None), expected);
        assert_eq!(forwarded(&Scope::COMPONENT, text, &Scope::COMPONENT, None), text);
        let text = "<message from='a.lit' to='b.lit' xmlns = \"jabber:server\"><x xmlns='urn:x'/></message>";
        let expected = "<message from='a.lit' to='b.lit'><x xmlns='urn:x'/></message>";
        assert_eq!(forwarded(&Scope::SERVER, text, &Scope::COMPONENT, None), expected);
    }

    #[test]
    fn an_inherited_language_is_written_out() {
        let text = "<message from='a.lit' to='b.lit'/>";
        let expected = "<message xml:lang='p&apos;t' from='a.lit' to='b.lit'/>";
        assert_eq!(forwarded(&Scope::SERVER, text, &Scope::SERVER, Some("p't")), expected);
        let text = "<message from='a.lit' to='b.lit' xml:lang=''/>";
        assert_eq!(forwarded(&Scope::SERVER, text, &Scope::SERVER, Some("pt")), text);
    }

    #[test]
    fn an_inherited_prefix_is_bound_where_it_is_not_inherited() {
        let text = "<message from='a.lit' to='b.lit'><db:x/><stream:x/></message>";
        let expected =
            "<message xmlns:db='jabber:server:dialback' from='a.lit' to='b.lit'><db:x/><stream:x/></message>";
        assert_eq!(forwarded(&Scope::DIALBACK, text, &Scope::COMPONENT, None), expected);
        assert_eq!(forwarded(&Scope::DIALBACK, text, &Scope::DIALBACK, None), text);
        let own = "<message from='a.lit' to='b.lit'><db:x xmlns:db='urn:x'/></message>";
        assert_eq!(forwarded(&Scope::DIALBACK, own, &Scope::COMPONENT, None), own);
    }

    #[test]
    fn mending_keeps_to_the_limit_of_attributes() {
        let attributes: String = (0..limits::ATTRIBUTES - 2).map(|n| format!(" a{n}=''")).collect();
        let plain = format!("<message from='a.lit' to='b.lit'{attributes}/>");
        assert_eq!(forwarded(&Scope::DIALBACK, &plain, &Scope::SERVER, Some("pt")), plain);
        let inheriting = format!("<message from='a.lit' to='b.lit'{attributes}><db:x/></message>");
        assert_eq!(
            read(inheriting.as_bytes(), &Scope::DIALBACK).unwrap_err(),
            NotAStanza::Malformed(Malformed::Attributes)
        );
    }
}
