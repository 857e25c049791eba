//! Stanza errors: how a sender learns that a stanza did not arrive (RFC 6120 §8.3).

use bytes::Bytes;

use crate::checker::{Root, Scope};
use crate::conditions::conditions;
use crate::escape::{push_attribute, push_text};
use crate::stanza::{self, Kind, Stanza};

/// The namespace of the conditions and of the text.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

conditions! {
    /// The defined conditions of a stanza error (RFC 6120 §8.3.3).
    pub enum Condition {
        /// It does not conform to its schema, or cannot be processed.
        BadRequest = "bad-request",
        /// Something with that name exists already.
        Conflict = "conflict",
        /// Nobody has built that here.
        FeatureNotImplemented = "feature-not-implemented",
        /// The sender has not the permission.
        Forbidden = "forbidden",
        /// The recipient is not to be had at this address any more.
        Gone = "gone",
        /// A fault of our own.
        InternalServerError = "internal-server-error",
        /// The address or item does not exist.
        ItemNotFound = "item-not-found",
        /// An address that is none.
        JidMalformed = "jid-malformed",
        /// It does not meet the recipient's criteria.
        NotAcceptable = "not-acceptable",
        /// Nobody is allowed to do that.
        NotAllowed = "not-allowed",
        /// Credentials are needed first.
        NotAuthorized = "not-authorized",
        /// A local rule was broken, such as a limit.
        PolicyViolation = "policy-violation",
        /// The recipient is away for now.
        RecipientUnavailable = "recipient-unavailable",
        /// The recipient is to be had elsewhere for now.
        Redirect = "redirect",
        /// Registration is needed first.
        RegistrationRequired = "registration-required",
        /// The domain does not exist, or is not to be found.
        RemoteServerNotFound = "remote-server-not-found",
        /// The domain exists and could not be reached in time.
        RemoteServerTimeout = "remote-server-timeout",
        /// Too little of something is left.
        ResourceConstraint = "resource-constraint",
        /// The recipient does not offer that.
        ServiceUnavailable = "service-unavailable",
        /// A subscription is needed first.
        SubscriptionRequired = "subscription-required",
        /// None of the others.
        UndefinedCondition = "undefined-condition",
        /// Right as such, but not at this moment.
        UnexpectedRequest = "unexpected-request",
    }
}

/// What the sender may do about an error (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Try again with credentials.
    Auth,
    /// Do not try again.
    Cancel,
    /// Go on; it was a warning.
    Continue,
    /// Try again with other data.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }
}

impl Condition {
    /// The type that the RFC associates with the condition.
    #[must_use]
    pub const fn error_type(self) -> ErrorType {
        match self {
            Self::Forbidden | Self::NotAuthorized | Self::RegistrationRequired | Self::SubscriptionRequired => {
                ErrorType::Auth
            }
            Self::BadRequest | Self::JidMalformed | Self::NotAcceptable | Self::PolicyViolation | Self::Redirect => {
                ErrorType::Modify
            }
            Self::RecipientUnavailable
            | Self::RemoteServerTimeout
            | Self::ResourceConstraint
            | Self::UnexpectedRequest => ErrorType::Wait,
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::Gone
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable
            | Self::UndefinedCondition => ErrorType::Cancel,
        }
    }
}

/// The error that tells the sender of `stanza` why it did not arrive.
///
/// It names no namespace on its root, so that it is right on any stream of stanzas. `None` where a
/// stanza may not be answered (RFC 6120 §8.3.1).
#[must_use]
pub fn bounce(stanza: &Stanza<'_>, condition: Condition, text: &str) -> Option<Bytes> {
    bounce_root(&stanza.root, stanza.kind, condition, text)
}

/// [`bounce`] for the bytes of a stanza between servers.
#[must_use]
pub fn bounce_bytes(bytes: &[u8], condition: Condition, text: &str) -> Option<Bytes> {
    bounce(&stanza::read(bytes, &Scope::SERVER).ok()?, condition, text)
}

/// [`bounce`] for a stanza of which no more than the root was read, because it was too large or has a
/// bad address. An address that is missing stays missing.
#[must_use]
pub fn bounce_root(root: &Root<'_>, kind: Kind, condition: Condition, text: &str) -> Option<Bytes> {
    if !kind.may_be_answered(root.kind().as_deref()) {
        return None;
    }
    let mut out = Vec::with_capacity(384);
    out.push(b'<');
    out.extend_from_slice(kind.as_str().as_bytes());
    let attributes = [("from", root.to()), ("to", root.from()), ("id", root.id())];
    for (name, value) in attributes {
        if let Some(value) = value {
            push_attribute(&mut out, name, &value);
        }
    }
    out.extend_from_slice(b" type='error'>");
    push_error(&mut out, condition, text);
    out.extend_from_slice(b"</");
    out.extend_from_slice(kind.as_str().as_bytes());
    out.push(b'>');
    Some(out.into())
}

fn push_error(out: &mut Vec<u8>, condition: Condition, text: &str) {
    let error_type = condition.error_type().as_str();
    out.extend_from_slice(format!("<error type='{error_type}'><{condition} xmlns='{NAMESPACE}'/>").as_bytes());
    if !text.is_empty() {
        out.extend_from_slice(format!("<text xmlns='{NAMESPACE}' xml:lang='en'>").as_bytes());
        push_text(out, text);
        out.extend_from_slice(b"</text>");
    }
    out.extend_from_slice(b"</error>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Scope;
    use crate::stanza::read;

    fn bounced(stanza: &str, text: &str) -> Option<String> {
        let stanza = read(stanza.as_bytes(), &Scope::SERVER).unwrap();
        let bytes = bounce(&stanza, Condition::RemoteServerNotFound, text)?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn the_sender_gets_its_own_id_back() {
        let expected = "<iq from='b@b.lit' to='a@a.lit/x' id='q&amp;1' type='error'><error type='cancel'>\
            <remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
            <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>no &lt;way&gt;</text></error></iq>";
        let request = "<iq from='a@a.lit/x' to='b@b.lit' id='q&#38;1' type='get'><q xmlns='urn:q'/></iq>";
        assert_eq!(bounced(request, "no <way>").as_deref(), Some(expected));
    }

    #[test]
    fn an_error_without_text_has_no_text_element() {
        let expected = "<message from='b.lit' to='a.lit' type='error'><error type='cancel'>\
            <remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>";
        assert_eq!(bounced("<message from='a.lit' to='b.lit'/>", "").as_deref(), Some(expected));
    }

    #[test]
    fn a_bounce_is_a_stanza_that_is_not_bounced_again() {
        let first = bounced("<presence from='a.lit' to='b.lit' type='subscribe'/>", "x").unwrap();
        assert_eq!(read(first.as_bytes(), &Scope::SERVER).unwrap().type_().as_deref(), Some("error"));
        assert_eq!(bounced(&first, "x"), None);
    }

    #[test]
    fn what_asks_nothing_is_not_answered() {
        assert_eq!(bounced("<iq from='a.lit' to='b.lit' type='result'/>", ""), None);
        assert_eq!(bounced("<iq from='a.lit' to='b.lit'/>", ""), None);
        assert_eq!(bounced("<message from='a.lit' to='b.lit' type='error'/>", ""), None);
        assert_eq!(bounced("<presence from='a.lit' to='b.lit' type='unavailable'/>", ""), None);
        assert!(bounced("<presence from='a.lit' to='b.lit'/>", "").is_some());
    }

    #[test]
    fn every_condition_is_read_by_its_name() {
        for &condition in Condition::ALL {
            assert_eq!(Condition::parse(condition.as_str()), Some(condition));
        }
        assert_eq!(Condition::parse("reset"), None);
    }
}
