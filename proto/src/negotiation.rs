//! Negotiation of a host stream (RFC 6120 §4 to §6 with host names; protocol §3), one type per state.
//!
//! The dialling side has TLS before the first byte; the receiving side may be asked for STARTTLS.
//! A state takes the next frame and yields the next state with what is to be done.

use bytes::Bytes;

use crate::acks;
use crate::checker::Scope;
use crate::control::NAMESPACE as FEDERATION;
use crate::element::Element;
use crate::framer::{Frame, FramingError};
use crate::header::{Header, STREAM_NAMESPACE};
use crate::host_stream::Role;
use crate::name::Name;
use crate::stream_error::{Condition, STREAM_END, StreamError};

const SERVER: &str = "jabber:server";
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const EXTERNAL: &str = "EXTERNAL";

/// What a state wants done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it.
    Send(Bytes),
    /// The next frame is a stream header again.
    Restart,
    /// Answer a TLS ClientHello now; then begin anew with [`Negotiation::accept_secured`].
    StartTls,
    /// Judge the peer's certificate chain for this name and call [`Negotiation::judged`].
    Judge(Name),
    /// Close the connection once what was sent is out; the peer was told why.
    Close(&'static str),
    /// The stream is authenticated; `lang` is what its stanzas inherit.
    Established {
        /// The peer host.
        peer: Name,
        /// The `xml:lang` of the peer's stream header.
        lang: Option<String>,
        /// Who dialled, and whether stanzas can be acknowledged.
        role: Role,
    },
}

/// Why there is no host stream.
#[derive(Debug, thiserror::Error)]
pub enum NegotiationError {
    /// The peer misbehaves, or asks for what we do not serve; it is told so.
    #[error("{0}")]
    Told(StreamError),
    /// The peer ended the stream.
    #[error("the peer host ended the stream: {0}")]
    PeerError(StreamError),
    /// The peer closed the stream without an error.
    #[error("the peer host closed the stream during negotiation")]
    Closed,
    /// The peer does not take our certificate.
    #[error("the peer host refused our certificate: {0}")]
    Refused(String),
    /// The peer's certificate does not prove its name.
    #[error("the certificate of {name} is not trusted: {why}")]
    Untrusted {
        /// The claimed host.
        name: Name,
        /// The verdict.
        why: String,
    },
}

impl NegotiationError {
    fn told(condition: Condition, text: impl Into<String>) -> Self {
        Self::Told(StreamError::new(condition, text))
    }

    /// What the peer is sent before the connection closes, on a stream that is open.
    #[must_use]
    pub fn farewell(&self) -> Bytes {
        match self {
            Self::Told(error) => error.to_bytes(),
            Self::PeerError(_) | Self::Closed | Self::Refused(_) => Bytes::from_static(STREAM_END),
            Self::Untrusted { .. } => {
                let mut bytes = sasl("failure").with_child(sasl("not-authorized")).to_bytes(SERVER).to_vec();
                bytes.extend_from_slice(STREAM_END);
                bytes.into()
            }
        }
    }
}

type Step = Result<(Negotiation, Vec<Output>), NegotiationError>;

/// A negotiation in one of its states.
#[derive(Debug)]
pub enum Negotiation {
    /// Dialling side: our header is sent.
    Greeting(Greeting),
    /// Dialling side: waits for the features.
    Choosing(Choosing),
    /// Dialling side: `<auth/>` is sent.
    Authenticating(Authenticating),
    /// Receiving side: waits for a header.
    Listening(Listening),
    /// Receiving side: STARTTLS was offered.
    OfferingTls(OfferingTls),
    /// Receiving side: EXTERNAL was offered.
    OfferingSasl(OfferingSasl),
    /// Receiving side: the chain is being judged.
    Judging(Judging),
    /// Nothing more is expected.
    Done,
}

/// The names of the stream's two ends.
#[derive(Clone, Debug)]
struct Ends {
    us: Name,
    peer: Name,
}

/// Dialling side: the header is sent, before (`authenticated` false) or after SASL.
#[derive(Debug)]
pub struct Greeting {
    ends: Ends,
    authenticated: bool,
}

/// Dialling side: the peer's header is there.
#[derive(Debug)]
pub struct Choosing {
    ends: Ends,
    authenticated: bool,
    lang: Option<String>,
}

/// Dialling side: waits for the outcome of SASL.
#[derive(Debug)]
pub struct Authenticating {
    ends: Ends,
}

/// Receiving side: waits for a header; `peer` is known once it has authenticated.
#[derive(Debug)]
pub struct Listening {
    us: Name,
    secured: bool,
    peer: Option<Name>,
    stream_id: String,
}

/// Receiving side: only `<starttls/>` leads on.
#[derive(Debug)]
pub struct OfferingTls;

/// Receiving side: only `<auth/>` leads on.
#[derive(Debug)]
pub struct OfferingSasl {
    ends: Ends,
    stream_id: String,
}

/// Receiving side: the certificate decides.
#[derive(Debug)]
pub struct Judging {
    ends: Ends,
    stream_id: String,
}

impl Negotiation {
    /// The dialling side's begin, on a TLS channel whose peer's chain was judged for `peer`.
    #[must_use]
    pub fn dial(us: Name, peer: Name) -> (Self, Vec<Output>) {
        let ends = Ends { us, peer };
        let outputs = vec![Output::Send(ends.header(None))];
        (Self::Greeting(Greeting { ends, authenticated: false }), outputs)
    }

    /// The receiving side's begin without TLS: STARTTLS is all that is offered.
    #[must_use]
    pub fn accept_plain(us: Name, stream_id: String) -> Self {
        Self::Listening(Listening { us, secured: false, peer: None, stream_id })
    }

    /// The receiving side's begin on a TLS channel.
    #[must_use]
    pub fn accept_secured(us: Name, stream_id: String) -> Self {
        Self::Listening(Listening { us, secured: true, peer: None, stream_id })
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`NegotiationError`]; the connection is to be closed with [`NegotiationError::farewell`].
    pub fn frame(self, frame: Frame) -> Step {
        let opening = self.opening();
        told_on_an_open_stream(opening, self.take(frame))
    }

    fn take(self, frame: Frame) -> Step {
        match frame {
            Frame::Header(bytes) => {
                let header = Header::parse(&bytes).map_err(|error| NegotiationError::Told(error.stream_error()))?;
                self.header(header)
            }
            Frame::Element(bytes) => {
                let element = Element::parse(&bytes, &Scope::SERVER)
                    .map_err(|malformed| NegotiationError::Told(malformed.stream_error()))?;
                self.element(&element)
            }
            Frame::TooLarge { .. } => {
                Err(NegotiationError::told(Condition::PolicyViolation, "too large before authentication"))
            }
            Frame::End => Err(NegotiationError::Closed),
        }
    }

    /// Takes what cannot be cut into frames.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub fn unreadable(self, fault: FramingError) -> Step {
        told_on_an_open_stream(self.opening(), Err(NegotiationError::Told(fault.stream_error())))
    }

    /// The header of ours that still has to stand before an error.
    fn opening(&self) -> Option<Bytes> {
        match self {
            Self::Listening(state) => Some(Listening::greet(&state.us, state.peer.as_ref(), &state.stream_id)),
            Self::Greeting(_)
            | Self::Choosing(_)
            | Self::Authenticating(_)
            | Self::OfferingTls(_)
            | Self::OfferingSasl(_)
            | Self::Judging(_)
            | Self::Done => None,
        }
    }

    fn header(self, header: Header) -> Step {
        match self {
            Self::Greeting(state) => state.header(header),
            Self::Listening(state) => state.header(&header),
            Self::Choosing(_)
            | Self::Authenticating(_)
            | Self::OfferingTls(_)
            | Self::OfferingSasl(_)
            | Self::Judging(_)
            | Self::Done => Err(NegotiationError::told(Condition::InvalidXml, "a second stream header")),
        }
    }

    fn element(self, element: &Element) -> Step {
        if let Some(error) = StreamError::from_element(element) {
            return Err(NegotiationError::PeerError(error));
        }
        match self {
            Self::Choosing(state) => state.features(element),
            Self::Authenticating(state) => state.outcome(element),
            Self::OfferingTls(state) => state.answer(element),
            Self::OfferingSasl(state) => state.auth(element),
            Self::Greeting(_) | Self::Listening(_) | Self::Judging(_) | Self::Done => Err(unexpected(element)),
        }
    }

    /// The verdict on the chain that [`Output::Judge`] asked for.
    ///
    /// # Errors
    /// [`NegotiationError::Untrusted`] where it was not good.
    pub fn judged(self, verdict: Result<(), String>) -> Step {
        match self {
            Self::Judging(state) => state.judged(verdict),
            state @ (Self::Greeting(_)
            | Self::Choosing(_)
            | Self::Authenticating(_)
            | Self::Listening(_)
            | Self::OfferingTls(_)
            | Self::OfferingSasl(_)
            | Self::Done) => Ok((state, Vec::new())),
        }
    }
}

/// RFC 6120 §4.9.1.2: a stream is opened before it ends with an error.
fn told_on_an_open_stream(opening: Option<Bytes>, step: Step) -> Step {
    match (opening, step) {
        (Some(opening), Err(NegotiationError::Told(error))) => Ok(end_with(&opening, &error)),
        (_, step) => step,
    }
}

fn end_with(opening: &[u8], error: &StreamError) -> (Negotiation, Vec<Output>) {
    let bytes = [opening, &error.to_bytes()].concat().into();
    (Negotiation::Done, vec![Output::Send(bytes), Output::Close(error.condition.as_str())])
}

fn unexpected(element: &Element) -> NegotiationError {
    let text = format!("<{}/> is not expected now", element.name());
    NegotiationError::told(Condition::NotAuthorized, text)
}

fn sasl(name: &str) -> Element {
    Element::new(name, SASL)
}

impl Ends {
    fn header(&self, id: Option<&str>) -> Bytes {
        header(&self.us, Some(&self.peer), id)
    }
}

fn header(from: &Name, to: Option<&Name>, id: Option<&str>) -> Bytes {
    let header = Header {
        namespace: SERVER.to_owned(),
        from: Some(from.to_string()),
        to: to.map(Name::to_string),
        id: id.map(str::to_owned),
        version: Some((1, 0)),
        lang: None,
        dialback: false,
    };
    header.to_bytes()
}

impl Greeting {
    fn header(self, header: Header) -> Step {
        let Self { ends, authenticated } = self;
        let named = header.from.as_deref().map(Name::parse);
        if named.is_some_and(|from| from.as_ref() != Ok(&ends.peer)) {
            let text = format!("expected the host {}", ends.peer);
            return Err(NegotiationError::told(Condition::InvalidFrom, text));
        }
        check_header(&header)?;
        Ok((Negotiation::Choosing(Choosing { ends, authenticated, lang: header.lang }), Vec::new()))
    }
}

/// What both sides ask of a header: the namespace of servers, and version 1.0 (RFC 6120 §4.7.5).
fn check_header(header: &Header) -> Result<(), NegotiationError> {
    if header.namespace != SERVER {
        return Err(NegotiationError::told(Condition::InvalidNamespace, "a host stream is in jabber:server"));
    }
    if header.version.is_none_or(|(major, _)| major < 1) {
        return Err(NegotiationError::told(Condition::UnsupportedVersion, "a host stream has version 1.0"));
    }
    Ok(())
}

impl Choosing {
    fn features(self, element: &Element) -> Step {
        let Self { ends, authenticated, lang } = self;
        if !element.is("features", STREAM_NAMESPACE) {
            return Err(unexpected(element));
        }
        if authenticated {
            return match element.child("federation", FEDERATION) {
                Some(_) => {
                    let role = Role::Dialled { counts: element.child("sm", acks::NAMESPACE).is_some() };
                    Ok((Negotiation::Done, vec![Output::Established { peer: ends.peer, lang, role }]))
                }
                None => Err(NegotiationError::told(Condition::UnsupportedFeature, "no federation is offered")),
            };
        }
        let mechanisms = element.child("mechanisms", SASL);
        let external = |mechanisms: &Element| mechanisms.children().any(|mechanism| mechanism.text() == EXTERNAL);
        if !mechanisms.is_some_and(external) {
            return Err(NegotiationError::told(Condition::UnsupportedFeature, "SASL EXTERNAL is not offered"));
        }
        let auth = sasl("auth").with_attr("mechanism", EXTERNAL).with_text("=").to_bytes(SERVER);
        Ok((Negotiation::Authenticating(Authenticating { ends }), vec![Output::Send(auth)]))
    }
}

impl Authenticating {
    fn outcome(self, element: &Element) -> Step {
        if element.is("success", SASL) {
            let Self { ends } = self;
            let outputs = vec![Output::Restart, Output::Send(ends.header(None))];
            return Ok((Negotiation::Greeting(Greeting { ends, authenticated: true }), outputs));
        }
        if element.is("failure", SASL) {
            let condition = element.children().next().map_or("no condition", Element::name);
            let text = element.child("text", SASL).map(Element::text).unwrap_or_default();
            return Err(NegotiationError::Refused(format!("{condition} {text}").trim_end().to_owned()));
        }
        Err(unexpected(element))
    }
}

impl Listening {
    fn header(self, header: &Header) -> Step {
        let Self { us, secured, peer, stream_id } = self;
        let claimed = header.from.as_deref().and_then(|from| Name::parse(from).ok());
        let ours = Self::greet(&us, claimed.as_ref(), &stream_id);
        let told = |condition, text: &str| Ok(end_with(&ours, &StreamError::new(condition, text)));
        check_header(header)?;
        if header.to.as_deref().map(Name::parse).as_ref().is_none_or(|to| to.as_ref() != Ok(&us)) {
            return told(Condition::HostUnknown, "host streams only, to the name of this host");
        }
        if !secured {
            let starttls = Element::new("starttls", TLS).with_child(Element::new("required", TLS));
            return Ok((Negotiation::OfferingTls(OfferingTls), vec![Output::Send(features(&ours, &[starttls]))]));
        }
        let Some(claimed) = claimed.filter(|claimed| *claimed != us) else {
            return told(Condition::ImproperAddressing, "the stream header must name the calling host in 'from'");
        };
        let ends = Ends { us, peer: claimed.clone() };
        match peer {
            None => {
                let mechanisms = sasl("mechanisms").with_child(sasl("mechanism").with_text(EXTERNAL));
                let next = Negotiation::OfferingSasl(OfferingSasl { ends, stream_id });
                Ok((next, vec![Output::Send(features(&ours, &[mechanisms]))]))
            }
            Some(peer) if peer == claimed => {
                let offered = [Element::new("federation", FEDERATION), Element::new("sm", acks::NAMESPACE)];
                let established = Output::Established { peer, lang: header.lang.clone(), role: Role::Accepted };
                Ok((Negotiation::Done, vec![Output::Send(features(&ours, &offered)), established]))
            }
            Some(_) => told(Condition::InvalidFrom, "the host that authenticated had another name"),
        }
    }

    fn greet(us: &Name, peer: Option<&Name>, stream_id: &str) -> Bytes {
        header(us, peer, Some(stream_id))
    }
}

fn features(header: &[u8], features: &[Element]) -> Bytes {
    let features: Vec<u8> = features.iter().flat_map(|feature| feature.to_bytes(SERVER)).collect();
    [header, b"<stream:features>".as_slice(), &features, b"</stream:features>"].concat().into()
}

impl OfferingTls {
    fn answer(self, element: &Element) -> Step {
        let Self = self;
        if !element.is("starttls", TLS) {
            return Err(unexpected(element));
        }
        let proceed = Element::new("proceed", TLS).to_bytes(SERVER);
        Ok((Negotiation::Done, vec![Output::Send(proceed), Output::StartTls]))
    }
}

impl OfferingSasl {
    fn auth(self, element: &Element) -> Step {
        let Self { ends, stream_id } = self;
        if !element.is("auth", SASL) {
            return Err(unexpected(element));
        }
        if element.attr("mechanism") != Some(EXTERNAL) {
            return sasl_failure("invalid-mechanism");
        }
        let named = match element.text() {
            "" | "=" => Some(ends.peer.clone()),
            text => crate::control::read_base64(text, 1..=1023)
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|name| Name::parse(&name).ok()),
        };
        if named.as_ref() != Some(&ends.peer) {
            return sasl_failure("invalid-authzid");
        }
        let judge = Output::Judge(ends.peer.clone());
        Ok((Negotiation::Judging(Judging { ends, stream_id }), vec![judge]))
    }
}

fn sasl_failure(condition: &'static str) -> Step {
    let failure = sasl("failure").with_child(sasl(condition)).to_bytes(SERVER);
    let bytes = [failure.as_ref(), STREAM_END].concat().into();
    Ok((Negotiation::Done, vec![Output::Send(bytes), Output::Close(condition)]))
}

impl Judging {
    fn judged(self, verdict: Result<(), String>) -> Step {
        let Self { ends: Ends { us, peer }, stream_id } = self;
        match verdict {
            Ok(()) => {
                let outputs = vec![Output::Send(sasl("success").to_bytes(SERVER)), Output::Restart];
                // RFC 6120 §4.7.3: a restarted stream has an id of its own.
                let stream_id = format!("{stream_id}-2");
                let next = Listening { us, secured: true, peer: Some(peer), stream_id };
                Ok((Negotiation::Listening(next), outputs))
            }
            Err(why) => Err(NegotiationError::Untrusted { name: peer, why }),
        }
    }
}
