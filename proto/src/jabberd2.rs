//! jabberd2's router: how we become its default route, to which everything goes that it does not serve.
//!
//! The protocol is described nowhere but in its sources: a stream in a namespace of its own, SASL, a
//! name that is bound, and then every stanza in a `<route/>`.

mod routes;

use bytes::Bytes;

use crate::checker::Scope;
use crate::component::Secret;
use crate::control::{base64, read_base64};
use crate::digest_md5::{Challenge, Response};
use crate::element::Element;
use crate::framer::Frame;
use crate::header::{Header, STREAM_NAMESPACE};
use crate::stream_error::{Condition, StreamError, farewell};

pub(crate) use routes::IN_ROUTE;
pub use routes::{Arrived, Routes, in_route};

/// The namespace of its stream.
pub const NAMESPACE: &str = "http://jabberd.jabberstudio.org/ns/component/1.0";
/// Who it is, where it has no other name in its configuration.
const ROUTER: &str = "jabberd-router";
/// RFC 6120 §6.
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// What elements of its stream inherit.
const SCOPE: Scope = Scope::new(NAMESPACE, &[("stream", STREAM_NAMESPACE)]);

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it.
    Send(Bytes),
    /// The next frame is a stream header again.
    Restart,
    /// We are its default route.
    Up,
}

/// Why we are not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// It misbehaves; it is told so.
    #[error("{0}")]
    Told(StreamError),
    /// It ended the stream with an error.
    #[error("jabberd2's router ended the stream: {0}")]
    PeerError(StreamError),
    /// It closed the stream.
    #[error("jabberd2's router closed the stream")]
    Closed,
    /// It does not let us in.
    #[error("{0}")]
    Refused(&'static str),
}

impl BindError {
    fn told(condition: Condition, text: impl Into<String>) -> Self {
        Self::Told(StreamError::new(condition, text))
    }

    /// What is sent before the connection closes.
    #[must_use]
    pub fn farewell(&self) -> Bytes {
        match self {
            Self::Told(error) => farewell(Some(error)),
            Self::PeerError(_) | Self::Closed | Self::Refused(_) => farewell(None),
        }
    }
}

/// See the module.
pub struct Binding {
    user: String,
    secret: Secret,
    cnonce: String,
    step: Step,
}

/// What comes next.
enum Step {
    Header {
        secured: bool,
    },
    Mechanisms,
    Challenge,
    Success(Response),
    /// Features, which say nothing behind SASL.
    Features,
    Bound,
    Over,
}

type Next = Result<Vec<Output>, BindError>;

impl Binding {
    /// Begins; `cnonce` is random. The name that is bound is `user`: a user that may do nothing else may
    /// bind its own name.
    #[must_use]
    pub fn new(user: String, secret: Secret, cnonce: [u8; 12]) -> (Self, Bytes) {
        (Self { user, secret, cnonce: base64(&cnonce), step: Step::Header { secured: false } }, header())
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`BindError`]; the connection is to be closed with [`BindError::farewell`].
    pub fn frame(&mut self, frame: &Frame) -> Next {
        match frame {
            Frame::Header(bytes) => self.header(bytes),
            Frame::Element(bytes) => {
                let element =
                    Element::parse(bytes, &SCOPE).map_err(|malformed| BindError::Told(malformed.stream_error()))?;
                self.element(&element)
            }
            Frame::TooLarge { .. } => Err(BindError::told(Condition::PolicyViolation, "too large for this phase")),
            Frame::End => Err(BindError::Closed),
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Next {
        let header = Header::parse(bytes).map_err(|error| BindError::Told(error.stream_error()))?;
        if header.namespace != NAMESPACE {
            let text = "this is not the port of jabberd2's router";
            return Err(BindError::told(Condition::InvalidNamespace, text));
        }
        self.step = match self.step {
            Step::Header { secured: false } => Step::Mechanisms,
            Step::Header { secured: true } => Step::Features,
            Step::Mechanisms | Step::Challenge | Step::Success(_) | Step::Features | Step::Bound | Step::Over => {
                return Err(BindError::told(Condition::InvalidXml, "a second stream header"));
            }
        };
        Ok(Vec::new())
    }

    fn element(&mut self, element: &Element) -> Next {
        if let Some(error) = StreamError::from_element(element) {
            return Err(BindError::PeerError(error));
        }
        if element.is("failure", SASL) {
            return Err(BindError::Refused("jabberd2's router does not know this user with this secret"));
        }
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Mechanisms if element.is("features", STREAM_NAMESPACE) => self.authenticate(element),
            Step::Challenge if element.is("challenge", SASL) => self.respond(element),
            Step::Success(response) if element.is("success", SASL) => self.succeeded(element, &response),
            Step::Features if element.is("features", STREAM_NAMESPACE) => {
                self.step = Step::Bound;
                Ok(vec![Output::Send(self.bind())])
            }
            Step::Bound if element.is("bind", NAMESPACE) => match element.attr("error") {
                None => Ok(vec![Output::Up]),
                Some(code) => Err(BindError::Refused(why_not(code))),
            },
            Step::Header { .. }
            | Step::Mechanisms
            | Step::Challenge
            | Step::Success(_)
            | Step::Features
            | Step::Bound
            | Step::Over => {
                let text = format!("<{}/> is not expected now", element.name());
                Err(BindError::told(Condition::UnsupportedStanzaType, text))
            }
        }
    }

    fn authenticate(&mut self, features: &Element) -> Next {
        let mechanisms = features.child("mechanisms", SASL).into_iter().flat_map(Element::children);
        if !mechanisms.map(Element::text).any(|name| name == "DIGEST-MD5") {
            return Err(BindError::Refused("jabberd2's router does not offer DIGEST-MD5"));
        }
        self.step = Step::Challenge;
        let auth = Element::new("auth", SASL).with_attr("mechanism", "DIGEST-MD5");
        Ok(vec![Output::Send(auth.to_bytes(NAMESPACE))])
    }

    fn respond(&mut self, element: &Element) -> Next {
        let text = decoded(element).and_then(|text| Challenge::parse(&text));
        let Some(challenge) = text else {
            return Err(BindError::Refused("jabberd2's router sent a challenge that cannot be answered"));
        };
        let uri = format!("{ROUTER}/{ROUTER}");
        let response = challenge.respond(&self.user, &self.secret, &uri, &self.cnonce);
        let text = base64(response.text.as_bytes());
        self.step = Step::Success(response);
        Ok(vec![Output::Send(Element::new("response", SASL).with_text(&text).to_bytes(NAMESPACE))])
    }

    /// It is told apart from somebody who only says yes.
    fn succeeded(&mut self, element: &Element, response: &Response) -> Next {
        if !decoded(element).is_some_and(|text| response.is_answered_by(&text)) {
            return Err(BindError::Refused("who answers there does not know the secret of jabberd2's router"));
        }
        self.step = Step::Header { secured: true };
        Ok(vec![Output::Restart, Output::Send(header())])
    }

    fn bind(&self) -> Bytes {
        let default = Element::new("default", NAMESPACE);
        Element::new("bind", NAMESPACE).with_attr("name", &self.user).with_child(default).to_bytes(NAMESPACE)
    }
}

fn header() -> Bytes {
    let header = Header {
        namespace: NAMESPACE.to_owned(),
        from: None,
        to: Some(ROUTER.to_owned()),
        id: None,
        version: Some((1, 0)),
        lang: None,
        dialback: false,
    };
    header.to_bytes()
}

fn decoded(element: &Element) -> Option<String> {
    String::from_utf8(read_base64(element.text().trim(), 1..=4096)?).ok()
}

fn why_not(code: &str) -> &'static str {
    match code {
        "403" => "jabberd2's router does not let this user be its default route: see <acl type='default-route'>",
        "409" => "jabberd2's router has a default route already, or this name: is its s2s still running?",
        _ => "jabberd2's router did not bind the name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' \
        xmlns='http://jabberd.jabberstudio.org/ns/component/1.0' from='jabberd-router' version='1.0' id='a'>";
    const MECHANISMS: &str = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms \
        xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>DIGEST-MD5</mechanism></mechanisms></stream:features>";
    const CHALLENGE: &str = "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>cmVhbG09ImphYmJlcmQtcm91dGVyIiwgbm9u\
        Y2U9InJkTTBsZTRqY3l5LzJSUC9WemUyaGc9PSIsIHFvcD0iYXV0aCIsIGNoYXJzZXQ9dXRmLTgsIGFsZ29yaXRobT1tZDUtc2Vzcw==\
        </challenge>";
    const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
        cnNwYXV0aD0xOTU5OTBmNWFmMzU4OGI0NzcxZDY1NGIxOTAzMjhhMQ==</success>";
    const FEATURES: &str = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'></stream:features>";
    const BOUND: &str = "<bind xmlns='http://jabberd.jabberstudio.org/ns/component/1.0'><default></default></bind>";

    fn binding() -> Binding {
        let cnonce = read_base64("OLXEvPbNDuxjs9hR", 12..=12).unwrap().try_into().unwrap();
        let (binding, first) = Binding::new("jabberd".to_owned(), Secret::new("s3cret".to_owned()), cnonce);
        assert!(first.ends_with(b"to='jabberd-router' version='1.0'>"), "{first:?}");
        binding
    }

    fn told(binding: &mut Binding, text: &str) -> Next {
        let bytes = Bytes::from(text.to_owned());
        let frame = if text.starts_with("<?xml") { Frame::Header(bytes) } else { Frame::Element(bytes) };
        binding.frame(&frame)
    }

    /// What jabberd2 2.7.0 has sent, and what it took.
    #[test]
    fn a_login_as_it_was_recorded() {
        let mut binding = binding();
        let mut said = Vec::new();
        for text in [HEADER, MECHANISMS, CHALLENGE, SUCCESS, HEADER, FEATURES, BOUND] {
            for output in told(&mut binding, text).unwrap() {
                said.push(match output {
                    Output::Send(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                    Output::Restart => "restart".to_owned(),
                    Output::Up => "up".to_owned(),
                });
            }
        }
        let [auth, response, restart, header, bind, up] = &said[..] else { panic!("{said:?}") };
        assert_eq!(auth, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='DIGEST-MD5'/>");
        let response = Element::parse(response.as_bytes(), &SCOPE).unwrap();
        assert!(decoded(&response).unwrap().contains("response=9bf748d1a7a5a4e1b738051c96c2c7de,"));
        assert_eq!((restart.as_str(), up.as_str()), ("restart", "up"));
        assert!(header.starts_with("<?xml version='1.0'?><stream:stream "));
        assert_eq!(bind, "<bind name='jabberd'><default/></bind>");
    }

    #[test]
    fn who_does_not_know_the_secret_is_not_believed() {
        let mut binding = binding();
        for text in [HEADER, MECHANISMS, CHALLENGE] {
            told(&mut binding, text).unwrap();
        }
        let wrong = SUCCESS.replace("cnNwYXV0aD0xOTU5", "cnNwYXV0aD0xOTU4");
        assert!(matches!(told(&mut binding, &wrong), Err(BindError::Refused(why)) if why.contains("does not know")));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>x</text></failure>";
        let mut binding = binding();
        for text in [HEADER, MECHANISMS, CHALLENGE] {
            told(&mut binding, text).unwrap();
        }
        assert!(matches!(told(&mut binding, failure), Err(BindError::Refused(why)) if why.contains("secret")));
        for (code, word) in [("403", "acl"), ("409", "already"), ("400", "did not bind")] {
            let mut binding = self::binding();
            for text in [HEADER, MECHANISMS, CHALLENGE, SUCCESS, HEADER, FEATURES] {
                told(&mut binding, text).unwrap();
            }
            let refused = told(&mut binding, &BOUND.replace("><default>", &format!(" error='{code}'><default>")));
            assert!(matches!(refused, Err(BindError::Refused(why)) if why.contains(word)), "{code}: {refused:?}");
        }
    }

    #[test]
    fn another_port_is_told_apart() {
        let component = HEADER.replace(NAMESPACE, "jabber:component:accept");
        assert!(
            matches!(told(&mut binding(), &component), Err(BindError::Told(error)) if error.condition == Condition::InvalidNamespace)
        );
        let mut plain = binding();
        told(&mut plain, HEADER).unwrap();
        let offers = MECHANISMS.replace("DIGEST-MD5", "PLAIN");
        assert!(matches!(told(&mut plain, &offers), Err(BindError::Refused(why)) if why.contains("DIGEST-MD5")));
        assert!(matches!(told(&mut binding(), BOUND), Err(BindError::Told(_))), "out of turn");
        assert_eq!(binding().frame(&Frame::End), Err(BindError::Closed));
    }
}
