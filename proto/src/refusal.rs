//! Why an activation is refused: the failure table of protocol §5.

use crate::control::NAMESPACE;
use crate::element::Element;

const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// A refusal, as `<refused/>` carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Malformed, of a wrong length, or its id is pending or active on this link.
    Malformed,
    /// The domain is not hosted here.
    UnknownDomain,
    /// Policy, or the initiator's domain is one of the responder's own.
    Policy,
    /// The suite is unknown, or keyUsage forbids it.
    UnsupportedSuite,
    /// A certificate or KEM key that is not the current one: ask again and retry once.
    StaleIdentity,
    /// Chain, name or dates.
    UntrustedCertificate,
    /// The initiator's SRV records do not name the peer host.
    NotDelegated,
    /// A signature, decryption or MAC is wrong: one answer for all three.
    BadProof,
    /// Both asked at once, and this side serves the other's question.
    Glare,
    /// Over a budget, or a look-up failed for now; try again after so many seconds.
    Busy(u32),
}

impl Refusal {
    const PLAIN: [Self; 9] = [
        Self::Malformed,
        Self::UnknownDomain,
        Self::Policy,
        Self::UnsupportedSuite,
        Self::StaleIdentity,
        Self::UntrustedCertificate,
        Self::NotDelegated,
        Self::BadProof,
        Self::Glare,
    ];

    /// The stanza-error condition (RFC 6120 §8.3.3).
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::Malformed => "bad-request",
            Self::UnknownDomain => "item-not-found",
            Self::Policy => "not-allowed",
            Self::UnsupportedSuite => "not-acceptable",
            Self::StaleIdentity | Self::Glare => "conflict",
            Self::UntrustedCertificate | Self::BadProof => "not-authorized",
            Self::NotDelegated => "forbidden",
            Self::Busy(_) => "resource-constraint",
        }
    }

    /// The federation-specific reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownDomain => "unknown-domain",
            Self::Policy => "policy",
            Self::UnsupportedSuite => "unsupported-suite",
            Self::StaleIdentity => "stale-identity",
            Self::UntrustedCertificate => "untrusted-certificate",
            Self::NotDelegated => "not-delegated",
            Self::BadProof => "bad-proof",
            Self::Glare => "glare",
            Self::Busy(_) => "busy",
        }
    }

    pub(crate) fn elements(self) -> [Element; 2] {
        let reason = Element::new(self.reason(), NAMESPACE);
        let reason = match self {
            Self::Busy(seconds) => reason.with_attr("retry-after", &seconds.to_string()),
            Self::Malformed
            | Self::UnknownDomain
            | Self::Policy
            | Self::UnsupportedSuite
            | Self::StaleIdentity
            | Self::UntrustedCertificate
            | Self::NotDelegated
            | Self::BadProof
            | Self::Glare => reason,
        };
        [Element::new(self.condition(), STANZAS), reason]
    }

    /// Reads the children of `<refused/>`; what we do not know is a refusal by policy.
    pub(crate) fn read(refused: &Element) -> Self {
        let Some(reason) = refused.children().find(|child| child.namespace() == NAMESPACE) else {
            return Self::Policy;
        };
        if reason.name() == "busy" {
            let seconds = reason.attr("retry-after").and_then(|text| text.parse().ok());
            return Self::Busy(seconds.unwrap_or(5).clamp(1, 600));
        }
        Self::PLAIN.into_iter().find(|refusal| refusal.reason() == reason.name()).unwrap_or(Self::Policy)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.reason(), self.condition())
    }
}
