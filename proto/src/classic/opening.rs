//! The dialling side of a stream, up to where stanzas or dialback may follow (RFC 6120 §4 to §6).

use bytes::Bytes;

use super::{BIDI, ClassicError, Features, SASL, SERVER, TLS, header, unexpected};
use crate::checker::Scope;
use crate::element::Element;
use crate::framer::Frame;
use crate::header::Header;
use crate::name::Name;
use crate::stream_error::{Condition, StreamError};

/// What we want of the stream.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Our domain.
    pub from: Name,
    /// The remote domain.
    pub to: Name,
    /// Whether nothing may be said without TLS (RFC 7590); else it is used where the other side insists.
    pub tls_required: bool,
    /// Whether our certificate may prove `from`.
    pub external: bool,
    /// Whether dialback may prove `from`.
    pub dialback: bool,
    /// Whether both directions are wanted (XEP-0288).
    pub bidi: bool,
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it.
    Send(Bytes),
    /// The next frame is a stream header again.
    Restart,
    /// Secure the connection as TLS client, for the name of the remote domain; then call
    /// [`Opening::secured`].
    StartTls,
    /// The stream is open.
    Opened(Opened),
}

/// An open stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The id that the remote server gave it: what dialback keys are made for.
    pub stream_id: String,
    /// Whether our certificate proved `from`; else dialback is to.
    pub authenticated: bool,
    /// Whether both directions were agreed on.
    pub bidi: bool,
    /// Whether further pairs may be let in by dialback.
    pub grows: bool,
    /// What else is offered.
    pub features: Features,
    /// The language that the other side's stanzas inherit.
    pub lang: Option<String>,
    /// What its stanzas inherit besides.
    pub scope: Scope,
}

/// See the module.
#[derive(Debug)]
pub struct Opening {
    wish: Wish,
    step: Step,
    secured: bool,
    authenticated: bool,
    refused: bool,
    bidi: bool,
    stream_id: String,
    lang: Option<String>,
    scope: Scope,
    features: Features,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Header,
    Features,
    Proceed,
    Outcome,
    Over,
}

type Next = Result<Vec<Output>, ClassicError>;

impl Opening {
    /// Begins, on a connection that has TLS already (`secured`, XEP-0368) or not.
    #[must_use]
    pub fn new(wish: Wish, secured: bool) -> (Self, Vec<Output>) {
        let outputs = vec![Output::Send(header(Some(&wish.from), Some(&wish.to), None))];
        let opening = Self {
            wish,
            step: Step::Header,
            secured,
            authenticated: false,
            refused: false,
            bidi: false,
            stream_id: String::new(),
            lang: None,
            scope: Scope::SERVER,
            features: Features::default(),
        };
        (opening, outputs)
    }

    /// The connection has TLS now: the stream begins anew (RFC 6120 §5.4.3.3).
    pub fn secured(&mut self) -> Vec<Output> {
        self.secured = true;
        self.begin_again()
    }

    fn begin_again(&mut self) -> Vec<Output> {
        self.step = Step::Header;
        vec![Output::Restart, Output::Send(header(Some(&self.wish.from), Some(&self.wish.to), None))]
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`ClassicError`]; the connection is to be closed with [`ClassicError::farewell`].
    pub fn frame(&mut self, frame: &Frame) -> Next {
        match frame {
            Frame::Header(bytes) => {
                let header = Header::parse(bytes).map_err(|error| ClassicError::Told(error.stream_error()))?;
                self.header(header)
            }
            Frame::Element(bytes) => {
                let element = Element::parse(bytes, &self.scope)
                    .map_err(|malformed| ClassicError::Told(malformed.stream_error()))?;
                self.element(&element)
            }
            Frame::TooLarge { .. } => Err(ClassicError::told(Condition::PolicyViolation, "too large for this phase")),
            Frame::End => Err(ClassicError::Closed),
        }
    }

    fn header(&mut self, header: Header) -> Next {
        if self.step != Step::Header {
            return Err(ClassicError::told(Condition::InvalidXml, "a second stream header"));
        }
        if header.namespace != SERVER {
            return Err(ClassicError::told(Condition::InvalidNamespace, "a server's stream is in jabber:server"));
        }
        self.stream_id = header.id.unwrap_or_default();
        self.lang = header.lang;
        self.scope = if header.dialback { Scope::DIALBACK } else { Scope::SERVER };
        if header.version.is_some_and(|(major, _)| major >= 1) {
            self.step = Step::Features;
            return Ok(Vec::new());
        }
        // Before XMPP 1.0 there are no features: dialback is all that is left (RFC 6120 §4.7.5).
        self.features = Features { dialback: header.dialback, ..Features::default() };
        self.choose()
    }

    fn element(&mut self, element: &Element) -> Next {
        if let Some(error) = StreamError::from_element(element) {
            return Err(ClassicError::PeerError(error));
        }
        match self.step {
            Step::Features => {
                self.features = Features::read(element).ok_or_else(|| unexpected(element))?;
                self.choose()
            }
            Step::Proceed if element.is("proceed", TLS) => Ok(vec![Output::StartTls]),
            Step::Proceed if element.is("failure", TLS) => Err(ClassicError::NoTls("the server failed to start TLS")),
            Step::Outcome if element.is("success", SASL) => {
                self.authenticated = true;
                Ok(self.begin_again())
            }
            Step::Outcome if element.is("failure", SASL) => {
                self.refused = true;
                self.choose()
            }
            Step::Header | Step::Proceed | Step::Outcome | Step::Over => Err(unexpected(element)),
        }
    }

    /// TLS, then EXTERNAL, then dialback: the first that is offered and allowed.
    fn choose(&mut self) -> Next {
        let features = self.features;
        if !self.secured && features.starttls && (self.wish.tls_required || features.starttls_required) {
            self.step = Step::Proceed;
            return Ok(vec![Output::Send(Element::new("starttls", TLS).to_bytes(SERVER))]);
        }
        if !self.secured && self.wish.tls_required {
            return Err(ClassicError::NoTls("the server offers no TLS"));
        }
        if self.authenticated {
            return Ok(vec![self.opened()]);
        }
        let mut outputs = Vec::new();
        if features.bidi && self.wish.bidi && !self.bidi {
            self.bidi = true;
            outputs.push(Output::Send(Element::new("bidi", BIDI).to_bytes(SERVER)));
        }
        if features.external && self.wish.external && !self.refused {
            self.step = Step::Outcome;
            let auth = Element::new("auth", SASL).with_attr("mechanism", super::EXTERNAL).with_text("=");
            outputs.push(Output::Send(auth.to_bytes(SERVER)));
        } else if self.wish.dialback && (features.dialback || self.scope == Scope::DIALBACK) {
            outputs.push(self.opened());
        } else {
            return Err(ClassicError::NoWay(self.why_not()));
        }
        Ok(outputs)
    }

    fn why_not(&self) -> &'static str {
        match (self.refused, self.features.external, self.wish.external) {
            (true, ..) => "the server refused our certificate, and dialback may not be used",
            (false, true, false) => "we have no certificate for our domain, and dialback may not be used",
            (false, _, _) => "the server does not take our certificate, and dialback may not be used",
        }
    }

    fn opened(&mut self) -> Output {
        self.step = Step::Over;
        Output::Opened(Opened {
            stream_id: std::mem::take(&mut self.stream_id),
            authenticated: self.authenticated,
            bidi: self.bidi,
            // A server without dialback may declare its namespace (ejabberd does), and answers nothing.
            grows: self.wish.dialback && (self.features.dialback || !self.authenticated),
            features: self.features,
            lang: self.lang.take(),
            scope: self.scope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>\
        </mechanisms><dialback xmlns='urn:xmpp:features:dialback'/><bidi xmlns='urn:xmpp:features:bidi'/>";
    const TLS_OFFER: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

    fn wish() -> Wish {
        let name = |text| Name::parse(text).unwrap();
        let (from, to) = (name("saramago.lit"), name("pessoa.lit"));
        Wish { from, to, tls_required: true, external: true, dialback: true, bidi: true }
    }

    fn header(version: &str) -> Frame {
        let text = format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' id='s1' from='pessoa.lit'{version}>"
        );
        Frame::Header(text.into())
    }

    fn element(text: &str) -> Frame {
        Frame::Element(text.to_owned().into())
    }

    fn features(offers: &str) -> Frame {
        element(&format!("<stream:features>{offers}</stream:features>"))
    }

    /// What is sent, `restart`, `tls`, or how the stream opened.
    fn told(outputs: Vec<Output>) -> Vec<String> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let word = |output| match output {
            Output::Send(bytes) if bytes.starts_with(b"<?xml") => "header".to_owned(),
            Output::Send(bytes) => text(bytes),
            Output::Restart => "restart".to_owned(),
            Output::StartTls => "tls".to_owned(),
            Output::Opened(opened) => {
                format!("opened {} {} {} {}", opened.stream_id, opened.authenticated, opened.bidi, opened.grows)
            }
        };
        outputs.into_iter().map(word).collect()
    }

    const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

    #[test]
    fn starttls_then_external() {
        let (mut opening, outputs) = Opening::new(wish(), false);
        assert_eq!(told(outputs), ["header"]);
        let mut say = |frame| told(opening.frame(&frame).unwrap());
        assert_eq!(say(header(" version='1.0'")), [""; 0]);
        assert_eq!(
            say(features(&format!("{TLS_OFFER}{OFFERS}"))),
            ["<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"]
        );
        assert_eq!(say(element("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")), ["tls"]);
        assert_eq!(told(opening.secured()), ["restart", "header"]);
        let mut say = |frame| told(opening.frame(&frame).unwrap());
        assert_eq!(say(header(" version='1.0'")), [""; 0]);
        assert_eq!(say(features(OFFERS)), ["<bidi xmlns='urn:xmpp:bidi'/>", AUTH]);
        assert_eq!(say(element("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")), ["restart", "header"]);
        assert_eq!(say(header(" version='1.0'")), [""; 0]);
        assert_eq!(say(features("<sm xmlns='urn:xmpp:sm:3'/>")), ["opened s1 true true false"]);
    }

    #[test]
    fn a_stream_grows_where_dialback_is_offered_behind_the_certificate() {
        for (offer, grows) in [("<dialback xmlns='urn:xmpp:features:dialback'/>", true), ("", false)] {
            let mut opening = secured(wish());
            opening.frame(&features(OFFERS)).unwrap();
            opening.frame(&element("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")).unwrap();
            opening.frame(&header(" version='1.0'")).unwrap();
            let opened = told(opening.frame(&features(offer)).unwrap());
            assert_eq!(opened, [format!("opened s1 true true {grows}")]);
        }
    }

    fn secured(wish: Wish) -> Opening {
        let (mut opening, _) = Opening::new(wish, true);
        opening.frame(&header(" version='1.0'")).unwrap();
        opening
    }

    #[test]
    fn dialback_where_the_certificate_is_refused() {
        let mut opening = secured(wish());
        opening.frame(&features(OFFERS)).unwrap();
        let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
        assert_eq!(told(opening.frame(&element(failure)).unwrap()), ["opened s1 false true true"]);
        let mut opening = secured(Wish { dialback: false, ..wish() });
        opening.frame(&features(OFFERS)).unwrap();
        assert!(matches!(opening.frame(&element(failure)), Err(ClassicError::NoWay(why)) if why.contains("refused")));
    }

    #[test]
    fn dialback_where_external_is_not_offered() {
        let offers = "<dialback xmlns='urn:xmpp:features:dialback'/>";
        let mut opening = secured(wish());
        assert_eq!(told(opening.frame(&features(offers)).unwrap()), ["opened s1 false false true"]);
        let mut opening = secured(Wish { dialback: false, ..wish() });
        assert!(matches!(opening.frame(&features(offers)), Err(ClassicError::NoWay(_))));
    }

    #[test]
    fn nothing_is_said_without_tls() {
        let (mut opening, _) = Opening::new(wish(), false);
        opening.frame(&header(" version='1.0'")).unwrap();
        assert_eq!(opening.frame(&features(OFFERS)), Err(ClassicError::NoTls("the server offers no TLS")));
        let (mut opening, _) = Opening::new(wish(), false);
        assert_eq!(opening.frame(&header("")), Err(ClassicError::NoTls("the server offers no TLS")), "before XMPP 1.0");
        let (mut loopback, _) = Opening::new(Wish { tls_required: false, external: false, ..wish() }, false);
        assert_eq!(told(loopback.frame(&header("")).unwrap()), ["opened s1 false false true"]);
    }

    /// Over loopback, TLS costs more than it protects.
    #[test]
    fn without_need_tls_is_used_where_the_server_insists() {
        let required = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
        for (offer, expected) in [(TLS_OFFER, "opened s1 false false true"), (required, "<starttls")] {
            let (mut opening, _) =
                Opening::new(Wish { tls_required: false, external: false, bidi: false, ..wish() }, false);
            opening.frame(&header(" version='1.0'")).unwrap();
            let said = told(opening.frame(&features(&format!("{offer}{OFFERS}"))).unwrap());
            assert!(said[0].starts_with(expected), "{offer}: {said:?}");
        }
    }

    #[test]
    fn what_comes_out_of_turn_ends_the_stream() {
        let stanza = element("<message from='a@pessoa.lit' to='b@saramago.lit'/>");
        let told = |result| matches!(result, Err(ClassicError::Told(_)));
        assert!(told(secured(wish()).frame(&stanza)));
        assert!(told(secured(wish()).frame(&header(" version='1.0'"))));
        let mut opening = secured(wish());
        opening.frame(&features(OFFERS)).unwrap();
        assert!(told(opening.frame(&features(OFFERS))));
        let error = element("<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
        let unknown = StreamError::from(Condition::HostUnknown);
        assert_eq!(secured(wish()).frame(&error), Err(ClassicError::PeerError(unknown)));
        assert_eq!(secured(wish()).frame(&Frame::End), Err(ClassicError::Closed));
    }
}
