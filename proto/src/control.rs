//! Control elements: the top-level elements in `urn:xmpp:federation:0` (protocol §3 to §7).

mod resumption;

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::element::Element;
use crate::identity::Identity;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::suite::Fingerprint;

pub use resumption::{Claim, ResumePairs, ResumedPairs};

/// The namespace of the protocol, version 0.
pub const NAMESPACE: &str = "urn:xmpp:federation:0";

/// Bytes of a correlation id.
const ID_BYTES: usize = 64;
/// Bytes of a ciphertext: OAEP to RSA-8192 makes 1,024.
const CIPHERTEXT_BYTES: usize = 1024;

/// An activation's id: 16 random bytes.
pub type Aid = [u8; 16];

/// A control element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The decider chose this link (§3).
    Chosen,
    /// Show me the identity of `domain`; here is mine (§4).
    IdentityRequest(IdentityRequest),
    /// The answer to it.
    Identity {
        /// The request's id.
        id: String,
        /// What was asked for.
        identity: Identity,
    },
    /// Step 2 (§5).
    Request(Request),
    /// Step 3.
    Response(Response),
    /// Step 5, with the initiator's confirmation.
    Activate(Activate),
    /// The pair is active; ends at `expires`, Unix seconds.
    Active {
        /// The activation.
        aid: Aid,
        /// Unix seconds.
        expires: u64,
    },
    /// A request of any kind is refused.
    Refused {
        /// Which.
        about: About,
        /// Why.
        refusal: Refusal,
    },
    /// The pair ends (§5).
    Deactivate {
        /// The activation.
        aid: Aid,
        /// Why.
        reason: DeactivateReason,
    },
    /// Stanza `n` of yours could not be delivered (§7).
    Undelivered {
        /// Its number on the stream.
        n: u64,
        /// Why.
        reason: UndeliveredReason,
    },
    /// Resume these pairs of the session (§6).
    ResumePairs(ResumePairs),
    /// The answer to it.
    ResumedPairs(ResumedPairs),
    /// Send nothing to this domain until `Go`.
    Hold(Name),
    /// Send again.
    Go(Name),
}

/// `<identity-request/>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRequest {
    /// Correlates the answer.
    pub id: String,
    /// Whose identity is asked for.
    pub domain: Name,
    /// The leaf that the asker knows already.
    pub have: Option<Fingerprint>,
    /// The asker's own.
    pub identity: Identity,
}

/// `<request/>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The activation.
    pub aid: Aid,
    /// The asking domain.
    pub initiator: Name,
    /// The asked domain.
    pub responder: Name,
    /// H(leaf_I).
    pub initiator_cert: Fingerprint,
    /// H(leaf_R).
    pub responder_cert: Fingerprint,
    /// H(kem_I) where the suite uses it.
    pub initiator_kem: Option<Fingerprint>,
    /// H(kem_R) where the suite uses it.
    pub responder_kem: Option<Fingerprint>,
    /// As the initiator names it; unknown names are refused later, with their own reason.
    pub initiator_suite: String,
    /// As the initiator names it.
    pub responder_suite: String,
    /// ct_I.
    pub key: Vec<u8>,
    /// sig_I.
    pub signature: Vec<u8>,
}

/// `<response/>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The activation.
    pub aid: Aid,
    /// ct_R.
    pub key: Vec<u8>,
    /// sig_R.
    pub signature: Vec<u8>,
    /// conf_R, 32 bytes.
    pub confirm: Vec<u8>,
}

/// `<activate/>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activate {
    /// The activation.
    pub aid: Aid,
    /// The asking domain.
    pub initiator: Name,
    /// The asked domain.
    pub responder: Name,
    /// conf_I, 32 bytes.
    pub confirm: Vec<u8>,
}

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// An `<identity-request/>`.
    Id(String),
    /// An activation.
    Aid(Aid),
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Why a pair was deactivated.
    DeactivateReason {
        /// Another host proved the pair more recently.
        Moved => "moved",
        /// Nothing was sent for long.
        Idle => "idle",
        /// An operator's decision.
        Policy => "policy",
        /// Its life, or a certificate's, ended.
        Expired => "expired",
        /// A key must not be trusted any more: at once, before what still waits.
        KeyCompromise => "key-compromise",
    }
}

words! {
    /// Why a stanza could not be delivered.
    UndeliveredReason {
        /// The pair is not active on this link.
        PairNotActive => "pair-not-active",
        /// The domain's server is not there.
        DomainUnavailable => "domain-unavailable",
        /// A queue is full.
        Overflow => "overflow",
        /// Larger than the receiver takes.
        TooLarge => "too-large",
        /// Malformed, addressed with a domain of the receiver's own, or forbidden.
        Policy => "policy",
    }
}

/// A control element that says nothing we could act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedControl {
    /// What the refusal is to name; `None` where nothing can be named.
    pub about: Option<About>,
}

impl Control {
    /// Reads a top-level element of [`NAMESPACE`].
    ///
    /// # Errors
    /// [`MalformedControl`] where an attribute or child is missing, too long, or not of its form.
    pub fn read(element: &Element) -> Result<Self, MalformedControl> {
        read(element).ok_or_else(|| MalformedControl { about: read_about(element) })
    }

    /// The bytes to send on a host stream.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.write().to_bytes("jabber:server")
    }

    fn write(&self) -> Element {
        match self {
            Self::Chosen => new("chosen"),
            Self::IdentityRequest(request) => write_identity_request(request),
            Self::Identity { id, identity } => identity.write().with_attr("id", id.as_str()),
            Self::Request(request) => write_request(request),
            Self::Response(response) => new("response")
                .with_attr("aid", &base64(&response.aid))
                .with_child(binary("key", &response.key))
                .with_child(binary("signature", &response.signature))
                .with_child(binary("confirm", &response.confirm)),
            Self::Activate(activate) => new("activate")
                .with_attr("aid", &base64(&activate.aid))
                .with_attr("initiator", activate.initiator.as_str())
                .with_attr("responder", activate.responder.as_str())
                .with_child(binary("confirm", &activate.confirm)),
            Self::Active { aid, expires } => {
                new("active").with_attr("aid", &base64(aid)).with_attr("expires", &expires.to_string())
            }
            Self::Refused { about, refusal } => write_refused(about, *refusal),
            Self::Deactivate { aid, reason } => {
                new("deactivate").with_attr("aid", &base64(aid)).with_attr("reason", reason.as_str())
            }
            Self::Undelivered { n, reason } => {
                new("undelivered").with_attr("n", &n.to_string()).with_attr("reason", reason.as_str())
            }
            Self::ResumePairs(resume) => resume.write(),
            Self::ResumedPairs(resumed) => resumed.write(),
            Self::Hold(domain) => new("hold").with_attr("domain", domain.as_str()),
            Self::Go(domain) => new("go").with_attr("domain", domain.as_str()),
        }
    }
}

fn new(name: &str) -> Element {
    Element::new(name, NAMESPACE)
}

fn binary(name: &str, bytes: &[u8]) -> Element {
    new(name).with_text(&base64(bytes))
}

fn write_identity_request(request: &IdentityRequest) -> Element {
    let element =
        new("identity-request").with_attr("id", request.id.as_str()).with_attr("domain", request.domain.as_str());
    let element = match &request.have {
        Some(have) => element.with_attr("have", &hex::encode(have)),
        None => element,
    };
    element.with_child(request.identity.write())
}

fn write_request(request: &Request) -> Element {
    let mut element = new("request")
        .with_attr("aid", &base64(&request.aid))
        .with_attr("initiator", request.initiator.as_str())
        .with_attr("responder", request.responder.as_str())
        .with_attr("initiator-cert", &hex::encode(request.initiator_cert))
        .with_attr("responder-cert", &hex::encode(request.responder_cert));
    for (name, kem) in [("initiator-kem", &request.initiator_kem), ("responder-kem", &request.responder_kem)] {
        if let Some(kem) = kem {
            element = element.with_attr(name, &hex::encode(kem));
        }
    }
    element
        .with_attr("initiator-suite", request.initiator_suite.as_str())
        .with_attr("responder-suite", request.responder_suite.as_str())
        .with_child(binary("key", &request.key))
        .with_child(binary("signature", &request.signature))
}

fn write_refused(about: &About, refusal: Refusal) -> Element {
    let element = match about {
        About::Id(id) => new("refused").with_attr("id", id.as_str()),
        About::Aid(aid) => new("refused").with_attr("aid", &base64(aid)),
    };
    refusal.elements().into_iter().fold(element, Element::with_child)
}

fn read(element: &Element) -> Option<Control> {
    Some(match element.name() {
        "chosen" => Control::Chosen,
        "identity-request" => Control::IdentityRequest(IdentityRequest {
            id: read_id(element)?,
            domain: read_name(element, "domain")?,
            have: read_optional_fingerprint(element, "have")?,
            identity: Identity::read(element.child("identity", NAMESPACE)?)?,
        }),
        "identity" => Control::Identity { id: read_id(element)?, identity: Identity::read(element)? },
        "request" => Control::Request(read_request(element)?),
        "response" => Control::Response(Response {
            aid: read_aid(element)?,
            key: read_binary(element, "key", 1..=CIPHERTEXT_BYTES)?,
            signature: read_binary(element, "signature", 1..=CIPHERTEXT_BYTES)?,
            confirm: read_binary(element, "confirm", 32..=32)?,
        }),
        "activate" => Control::Activate(Activate {
            aid: read_aid(element)?,
            initiator: read_name(element, "initiator")?,
            responder: read_name(element, "responder")?,
            confirm: read_binary(element, "confirm", 32..=32)?,
        }),
        "active" => Control::Active { aid: read_aid(element)?, expires: element.attr("expires")?.parse().ok()? },
        "refused" => Control::Refused { about: read_about(element)?, refusal: Refusal::read(element) },
        "deactivate" => {
            Control::Deactivate { aid: read_aid(element)?, reason: DeactivateReason::parse(element.attr("reason")?)? }
        }
        "undelivered" => Control::Undelivered {
            n: element.attr("n")?.parse().ok()?,
            reason: UndeliveredReason::parse(element.attr("reason")?)?,
        },
        "resume-pairs" => Control::ResumePairs(ResumePairs::read(element)?),
        "resumed-pairs" => Control::ResumedPairs(ResumedPairs::read(element)?),
        "hold" => Control::Hold(read_name(element, "domain")?),
        "go" => Control::Go(read_name(element, "domain")?),
        _ => return None,
    })
}

fn read_request(element: &Element) -> Option<Request> {
    Some(Request {
        aid: read_aid(element)?,
        initiator: read_name(element, "initiator")?,
        responder: read_name(element, "responder")?,
        initiator_cert: read_fingerprint(element.attr("initiator-cert")?)?,
        responder_cert: read_fingerprint(element.attr("responder-cert")?)?,
        initiator_kem: read_optional_fingerprint(element, "initiator-kem")?,
        responder_kem: read_optional_fingerprint(element, "responder-kem")?,
        initiator_suite: element.attr("initiator-suite")?.to_owned(),
        responder_suite: element.attr("responder-suite")?.to_owned(),
        key: read_binary(element, "key", 1..=CIPHERTEXT_BYTES)?,
        signature: read_binary(element, "signature", 1..=CIPHERTEXT_BYTES)?,
    })
}

fn read_about(element: &Element) -> Option<About> {
    read_aid(element).map(About::Aid).or_else(|| read_id(element).map(About::Id))
}

fn read_id(element: &Element) -> Option<String> {
    element.attr("id").filter(|id| (1..=ID_BYTES).contains(&id.len())).map(str::to_owned)
}

fn read_aid(element: &Element) -> Option<Aid> {
    read_base64(element.attr("aid")?, 16..=16)?.try_into().ok()
}

fn read_name(element: &Element, attribute: &str) -> Option<Name> {
    Name::parse(element.attr(attribute)?).ok()
}

fn read_fingerprint(text: &str) -> Option<Fingerprint> {
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(text, &mut fingerprint).ok().map(|()| fingerprint)
}

/// `Some(None)` where the attribute is absent; `None` where it is there and malformed.
#[expect(clippy::option_option, reason = "absent and malformed are two things")]
fn read_optional_fingerprint(element: &Element, attribute: &str) -> Option<Option<Fingerprint>> {
    match element.attr(attribute) {
        Some(text) => read_fingerprint(text).map(Some),
        None => Some(None),
    }
}

fn read_binary(element: &Element, child: &str, length: RangeInclusive<usize>) -> Option<Vec<u8>> {
    read_base64(element.child(child, NAMESPACE)?.text(), length)
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn read_base64(text: &str, length: RangeInclusive<usize>) -> Option<Vec<u8>> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.len() > length.end().div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok().filter(|bytes| length.contains(&bytes.len()))
}

#[cfg(test)]
mod tests;
