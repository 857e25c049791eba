//! The receiving side of a stream, up to where stanzas or dialback may follow (RFC 6120 §4 to §6).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{BIDI, ClassicError, EXTERNAL, Features, SASL, SERVER, TLS, header, unexpected};
use crate::checker::Scope;
use crate::control::read_base64;
use crate::dialback::Dialback;
use crate::element::Element;
use crate::framer::Frame;
use crate::header::Header;
use crate::hosted::{Entry, Hosted};
use crate::name::Name;
use crate::stream_error::{Condition, STREAM_END, StreamError};

/// What is offered, and to whom.
#[derive(Clone, Debug)]
pub struct Offer {
    /// To whom.
    pub to: Audience,
    /// Whether nothing but STARTTLS is offered on a stream that has no TLS (RFC 7590).
    pub tls_required: bool,
    /// Whether dialback may prove a domain.
    pub dialback: bool,
    /// Whether both directions are offered (XEP-0288).
    pub bidi: bool,
    /// The largest stanza that we take, in bytes (XEP-0478).
    pub max_bytes: usize,
    /// A stream that carries nothing for so long is closed, in seconds (XEP-0478).
    pub idle_seconds: u32,
}

/// Who may open a stream.
#[derive(Clone, Debug)]
pub enum Audience {
    /// Remote servers, to our domains.
    Remote(Arc<Hosted>),
    /// Servers of ours, for domains of these entries and to anybody.
    Own(Arc<Hosted>, Arc<HashSet<Entry>>),
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send it.
    Send(Bytes),
    /// The next frame is a stream header again.
    Restart,
    /// Answer a TLS ClientHello now, then call [`Answering::secured`].
    StartTls,
    /// Judge the other side's certificate chain for this name, and call [`Answering::judged`].
    Judge(Name),
    /// The other side was told why; close once that is out.
    Close(Condition),
    /// The stream is open. The frame that led here is its first, unless it was a header.
    Opened(Opened),
}

/// An open stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The other side's domain and ours, where the stream's header named them and SASL proved the first.
    pub authenticated: Option<(Name, Name)>,
    /// Whether both directions were agreed on.
    pub bidi: bool,
    /// Whether the other side was offered acknowledgements (XEP-0198).
    pub sm: bool,
    /// The language that the other side's stanzas inherit.
    pub lang: Option<String>,
    /// What its stanzas inherit besides.
    pub scope: Scope,
}

/// See the module.
#[derive(Debug)]
pub struct Answering {
    offer: Offer,
    step: Step,
    secured: bool,
    bidi: bool,
    stream_id: String,
    from: Option<Name>,
    to: Option<Name>,
    authenticated: bool,
    lang: Option<String>,
    scope: Scope,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Header,
    /// The verdict on the certificate.
    Verdict,
    /// A choice among the features; whether EXTERNAL is one of them.
    Choice {
        external: bool,
    },
    Over,
}

type Next = Result<Vec<Output>, ClassicError>;

impl Answering {
    /// Waits for a header, on a connection that has TLS already (`secured`, XEP-0368) or not.
    /// `stream_id` is random and not used twice.
    #[must_use]
    pub fn new(offer: Offer, secured: bool, stream_id: String) -> Self {
        Self {
            offer,
            step: Step::Header,
            secured,
            bidi: false,
            stream_id,
            from: None,
            to: None,
            authenticated: false,
            lang: None,
            scope: Scope::SERVER,
        }
    }

    /// The id that dialback keys on this stream are made for.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// The other side's domain, as the stream's header named it.
    #[must_use]
    pub fn from(&self) -> Option<&Name> {
        self.from.as_ref()
    }

    /// The domain that is meant, as the stream's header named it.
    #[must_use]
    pub fn to(&self) -> Option<&Name> {
        self.to.as_ref()
    }

    /// The connection has TLS now: the next frame is a header again.
    pub fn secured(&mut self) {
        self.secured = true;
        self.step = Step::Header;
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`ClassicError`]; the connection is to be closed with [`Self::farewell`].
    pub fn frame(&mut self, frame: &Frame) -> Next {
        match frame {
            Frame::Header(bytes) => {
                let header = Header::parse(bytes).map_err(|error| ClassicError::Told(error.stream_error()))?;
                self.header(&header)
            }
            Frame::Element(bytes) => {
                let element = Element::parse(bytes, &self.scope)
                    .map_err(|malformed| ClassicError::Told(malformed.stream_error()))?;
                self.element(&element)
            }
            Frame::TooLarge { .. } => {
                Err(ClassicError::told(Condition::PolicyViolation, "too large before authentication"))
            }
            Frame::End => Err(ClassicError::Closed),
        }
    }

    /// What is sent before the connection closes: RFC 6120 §4.9.1.2 wants a header before an error.
    #[must_use]
    pub fn farewell(&self, error: &ClassicError) -> Bytes {
        if matches!(self.step, Step::Header | Step::Verdict) {
            return [self.own_header().as_ref(), &error.farewell()].concat().into();
        }
        error.farewell()
    }

    fn own_header(&self) -> Bytes {
        header(self.to.as_ref(), self.from.as_ref(), Some(&self.stream_id))
    }

    fn header(&mut self, header: &Header) -> Next {
        if self.step != Step::Header {
            return Err(ClassicError::told(Condition::InvalidXml, "a second stream header"));
        }
        if header.namespace != SERVER {
            return Err(ClassicError::told(Condition::InvalidNamespace, "this port takes servers (jabber:server)"));
        }
        let before = (self.from.clone(), self.to.clone());
        self.take_ends(header)?;
        if self.authenticated && (&self.from, &self.to) != (&before.0, &before.1) {
            return Err(ClassicError::told(Condition::InvalidFrom, "another domain was authenticated"));
        }
        self.lang.clone_from(&header.lang);
        self.scope = if header.dialback { Scope::DIALBACK } else { Scope::SERVER };
        match (&self.from, self.secured && !self.authenticated, &self.offer.to) {
            (Some(from), true, Audience::Remote(_)) => {
                self.step = Step::Verdict;
                Ok(vec![Output::Judge(from.clone())])
            }
            (_, _, Audience::Remote(_) | Audience::Own(..)) => Ok(self.greet(false)),
        }
    }

    /// RFC 6120 §4.7.1, §4.7.2: `to` names a domain of ours; `from` may be missing, for dialback names
    /// it later.
    fn take_ends(&mut self, header: &Header) -> Result<(), ClassicError> {
        let improper = |which| {
            let text = format!("the stream header's '{which}' is no domain");
            ClassicError::told(Condition::ImproperAddressing, text)
        };
        let name =
            |text: &Option<String>, which| text.as_deref().map(Name::parse).transpose().map_err(|_| improper(which));
        self.from = name(&header.from, "from")?;
        self.to = name(&header.to, "to")?;
        match &self.offer.to {
            Audience::Remote(hosted) if !self.to.as_ref().is_some_and(|to| hosted.contains(to.as_str())) => {
                Err(ClassicError::told(Condition::HostUnknown, "this domain is not served here"))
            }
            Audience::Remote(hosted) if self.from.as_ref().is_some_and(|from| hosted.contains(from.as_str())) => {
                Err(ClassicError::told(Condition::InvalidFrom, "this domain is served here"))
            }
            Audience::Own(..) if self.from.is_none() => Err(improper("from")),
            Audience::Own(..) if self.to.is_none() => Err(improper("to")),
            Audience::Own(..) if self.entry().is_none() => {
                let text = "no [[local]] entry that attaches by loopback S2S has the domain in 'from'";
                Err(ClassicError::told(Condition::NotAuthorized, text))
            }
            Audience::Remote(_) | Audience::Own(..) => Ok(()),
        }
    }

    /// Whose server it is, where it is one of ours.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        match &self.offer.to {
            Audience::Remote(_) => None,
            Audience::Own(hosted, entries) => {
                hosted.entry(self.from.as_ref()?.as_str()).filter(|entry| entries.contains(entry))
            }
        }
    }

    /// The verdict on the chain that [`Output::Judge`] asked for.
    ///
    /// # Errors
    /// `not-authorized` where nothing else may prove the domain.
    pub fn judged(&mut self, verdict: Result<(), String>) -> Next {
        match verdict {
            Ok(()) => Ok(self.greet(true)),
            Err(_) if self.offer.dialback => Ok(self.greet(false)),
            Err(why) => Err(ClassicError::told(Condition::NotAuthorized, why)),
        }
    }

    /// Our header and features.
    fn greet(&mut self, external: bool) -> Vec<Output> {
        let may_go_on = self.secured || !self.offer.tls_required;
        let features = Features {
            starttls: !self.secured,
            starttls_required: self.offer.tls_required,
            external,
            dialback: may_go_on && self.offer.dialback,
            dialback_errors: may_go_on && self.offer.dialback,
            bidi: may_go_on && self.offer.bidi && !self.authenticated,
            sm: self.authenticated,
            max_bytes: may_go_on.then_some(self.offer.max_bytes),
            idle_seconds: may_go_on.then_some(self.offer.idle_seconds),
        };
        self.step = Step::Choice { external };
        let greeting = [self.own_header(), features.to_bytes()].concat();
        let mut outputs = vec![Output::Send(greeting.into())];
        if self.authenticated {
            outputs.push(self.opened());
        }
        outputs
    }

    fn element(&mut self, element: &Element) -> Next {
        if let Some(error) = StreamError::from_element(element) {
            return Err(ClassicError::PeerError(error));
        }
        let Step::Choice { external } = self.step else { return Err(unexpected(element)) };
        if element.is("starttls", TLS) && !self.secured {
            self.step = Step::Over;
            let proceed = Element::new("proceed", TLS).to_bytes(SERVER);
            return Ok(vec![Output::Send(proceed), Output::StartTls]);
        }
        if !self.secured && self.offer.tls_required {
            return Err(ClassicError::told(Condition::PolicyViolation, "TLS first"));
        }
        if element.is("auth", SASL) {
            return Ok(self.auth(element, external));
        }
        if element.is("bidi", BIDI) && self.offer.bidi {
            self.bidi = true;
            return Ok(Vec::new());
        }
        if Dialback::is(element) {
            return Ok(vec![self.opened()]);
        }
        Err(unexpected(element))
    }

    /// XEP-0178 §3: an empty response, or the domain of the header.
    fn auth(&mut self, element: &Element, external: bool) -> Vec<Output> {
        if element.attr("mechanism") != Some(EXTERNAL) || !external {
            return sasl_failure("invalid-mechanism");
        }
        let named = match element.text().trim() {
            "" | "=" => self.from.clone(),
            text => read_base64(text, 1..=1023)
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|name| Name::parse(&name).ok()),
        };
        if named.is_none() || named != self.from {
            return sasl_failure("invalid-authzid");
        }
        self.authenticated = true;
        self.step = Step::Header;
        // RFC 6120 §4.7.3: a restarted stream has an id of its own.
        self.stream_id.push_str("-2");
        vec![Output::Send(Element::new("success", SASL).to_bytes(SERVER)), Output::Restart]
    }

    fn opened(&mut self) -> Output {
        self.step = Step::Over;
        let ends = self.from.clone().zip(self.to.clone());
        Output::Opened(Opened {
            authenticated: ends.filter(|_| self.authenticated),
            bidi: self.bidi,
            sm: self.authenticated,
            lang: self.lang.take(),
            scope: self.scope,
        })
    }
}

fn sasl_failure(condition: &str) -> Vec<Output> {
    let failure = Element::new("failure", SASL).with_child(Element::new(condition, SASL)).to_bytes(SERVER);
    let bytes = [failure.as_ref(), STREAM_END].concat();
    vec![Output::Send(bytes.into()), Output::Close(Condition::NotAuthorized)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn offer() -> Offer {
        let hosted = ["saramago.lit", "chat.saramago.lit"].map(|domain| (name(domain), 0));
        let to = Audience::Remote(Arc::new(Hosted::from_iter(hosted)));
        Offer { to, tls_required: true, dialback: true, bidi: true, max_bytes: 262_144, idle_seconds: 3600 }
    }

    fn header(from: &str, to: &str) -> Frame {
        let text = format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' from='{from}' to='{to}' version='1.0'>"
        );
        Frame::Header(text.into())
    }

    fn element(text: &str) -> Frame {
        Frame::Element(text.to_owned().into())
    }

    fn secured() -> Answering {
        let mut answering = Answering::new(offer(), true, "s1".to_owned());
        let judge = answering.frame(&header("pessoa.lit", "saramago.lit")).unwrap();
        assert_eq!(judge, [Output::Judge(name("pessoa.lit"))]);
        answering
    }

    fn text(outputs: &[Output]) -> String {
        let sent = outputs.iter().filter_map(|output| match output {
            Output::Send(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Output::Restart | Output::StartTls | Output::Judge(_) | Output::Close(_) | Output::Opened(_) => None,
        });
        sent.collect()
    }

    const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

    #[test]
    fn starttls_is_all_that_is_offered_in_the_clear() {
        let mut answering = Answering::new(offer(), false, "s1".to_owned());
        let greeting = text(&answering.frame(&header("pessoa.lit", "saramago.lit")).unwrap());
        assert!(greeting.contains("from='saramago.lit' to='pessoa.lit' id='s1'"), "{greeting}");
        assert!(greeting.contains("<required/>") && !greeting.contains("dialback'/>") && !greeting.contains("sasl"));
        let early = element("<db:result from='pessoa.lit' to='saramago.lit'>k</db:result>");
        let policy = |result: Next| matches!(result, Err(ClassicError::Told(error)) if error.condition == Condition::PolicyViolation);
        assert!(policy(answering.frame(&early)));
        let outputs = answering.frame(&element("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")).unwrap();
        assert_eq!(outputs.last(), Some(&Output::StartTls));
        answering.secured();
        assert!(matches!(answering.frame(&header("pessoa.lit", "saramago.lit")).as_deref(), Ok([Output::Judge(_)])));
    }

    #[test]
    fn a_good_certificate_is_offered_external() {
        let mut answering = secured();
        let greeting = text(&answering.judged(Ok(())).unwrap());
        for feature in ["<mechanism>EXTERNAL</mechanism>", "<errors/>", "features:bidi", "<max-bytes>262144<"] {
            assert!(greeting.contains(feature), "{feature} in {greeting}");
        }
        assert_eq!(answering.frame(&element("<bidi xmlns='urn:xmpp:bidi'/>")), Ok(vec![]));
        let outputs = answering.frame(&element(AUTH)).unwrap();
        assert_eq!(outputs.last(), Some(&Output::Restart));
        let mut outputs = answering.frame(&header("pessoa.lit", "saramago.lit")).unwrap();
        let Some(Output::Opened(opened)) = outputs.pop() else { panic!("not opened: {outputs:?}") };
        assert_eq!(opened.authenticated, Some((name("pessoa.lit"), name("saramago.lit"))));
        assert!(opened.bidi && opened.sm && text(&outputs).contains("id='s1-2'"));
    }

    #[test]
    fn another_domain_after_sasl_is_refused() {
        for (from, to) in [("campos.lit", "saramago.lit"), ("pessoa.lit", "chat.saramago.lit")] {
            let mut answering = secured();
            answering.judged(Ok(())).unwrap();
            answering.frame(&element(AUTH)).unwrap();
            let result = answering.frame(&header(from, to));
            assert!(matches!(result, Err(ClassicError::Told(error)) if error.condition == Condition::InvalidFrom));
        }
    }

    #[test]
    fn a_bad_certificate_leads_to_dialback_or_nowhere() {
        let mut answering = secured();
        let greeting = text(&answering.judged(Err("expired".to_owned())).unwrap());
        assert!(!greeting.contains("EXTERNAL") && greeting.contains("<errors/>"), "{greeting}");
        let outputs = answering.frame(&element(AUTH)).unwrap();
        assert!(text(&outputs).contains("<invalid-mechanism/>"));
        assert_eq!(outputs.last(), Some(&Output::Close(Condition::NotAuthorized)));
        let mut strict = Answering::new(Offer { dialback: false, ..offer() }, true, "s1".to_owned());
        strict.frame(&header("pessoa.lit", "saramago.lit")).unwrap();
        let result = strict.judged(Err("expired".to_owned()));
        assert!(matches!(result, Err(ClassicError::Told(error)) if error.condition == Condition::NotAuthorized));
    }

    #[test]
    fn dialback_opens_the_stream() {
        let mut answering = secured();
        answering.judged(Err("self-signed".to_owned())).unwrap();
        let key = element("<db:result from='pessoa.lit' to='saramago.lit'>k</db:result>");
        let opened = answering.frame(&key).unwrap();
        assert!(matches!(&opened[..], [Output::Opened(opened)] if opened.authenticated.is_none()));
        let mut answering = secured();
        answering.judged(Err("self-signed".to_owned())).unwrap();
        let stanza = element("<message from='a@pessoa.lit' to='b@saramago.lit'/>");
        let refused = answering.frame(&stanza);
        assert!(matches!(refused, Err(ClassicError::Told(error)) if error.condition == Condition::NotAuthorized));
    }

    /// Entry 1 attaches in another way.
    fn loopback() -> Answering {
        let hosted = [("saramago.lit", 0), ("chat.saramago.lit", 0), ("baltasar.lit", 1)];
        let hosted = hosted.map(|(domain, entry)| (name(domain), entry));
        let to = Audience::Own(Arc::new(Hosted::from_iter(hosted)), Arc::new(HashSet::from([0])));
        Answering::new(Offer { to, tls_required: false, bidi: false, ..offer() }, false, "s1".to_owned())
    }

    #[test]
    fn a_server_of_ours_speaks_to_anybody_with_tls_or_without() {
        let mut answering = loopback();
        let greeting = text(&answering.frame(&header("chat.saramago.lit", "wherever.example")).unwrap());
        assert!(greeting.contains("<starttls") && !greeting.contains("<required/>") && greeting.contains("<errors/>"));
        assert_eq!(answering.entry(), Some(0));
        let key = element("<db:result from='chat.saramago.lit' to='wherever.example'>k</db:result>");
        assert!(matches!(answering.frame(&key).as_deref(), Ok([Output::Opened(_)])));
        let mut answering = loopback();
        answering.frame(&header("saramago.lit", "wherever.example")).unwrap();
        answering.frame(&element("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")).unwrap();
        answering.secured();
        let greeting = text(&answering.frame(&header("saramago.lit", "wherever.example")).unwrap());
        assert!(
            !greeting.contains("<starttls") && greeting.contains("<errors/>"),
            "no certificate is judged: {greeting}"
        );
    }

    #[test]
    fn who_is_no_server_of_ours_is_not_let_in_by_loopback() {
        for (from, to, condition) in [
            ("pessoa.lit", "saramago.lit", Condition::NotAuthorized),
            ("baltasar.lit", "pessoa.lit", Condition::NotAuthorized),
            ("", "pessoa.lit", Condition::ImproperAddressing),
            ("saramago.lit", "::1", Condition::ImproperAddressing),
        ] {
            let result = loopback().frame(&header(from, to));
            assert!(matches!(result, Err(ClassicError::Told(error)) if error.condition == condition), "{from} to {to}");
        }
    }

    #[test]
    fn domains_that_are_not_here_and_names_that_are_ours() {
        for (from, to, condition) in [
            ("pessoa.lit", "ricardo.lit", Condition::HostUnknown),
            ("pessoa.lit", "", Condition::ImproperAddressing),
            ("::1", "saramago.lit", Condition::ImproperAddressing),
            ("chat.saramago.lit", "saramago.lit", Condition::InvalidFrom),
        ] {
            let mut answering = Answering::new(offer(), true, "s1".to_owned());
            let Err(error) = answering.frame(&header(from, to)) else { panic!("{from} to {to} was let in") };
            assert!(
                matches!(&error, ClassicError::Told(error) if error.condition == condition),
                "{from} {to}: {error}"
            );
            let farewell = String::from_utf8(answering.farewell(&error).to_vec()).unwrap();
            assert!(farewell.starts_with("<?xml") && farewell.contains(condition.as_str()), "{farewell}");
        }
    }

    #[test]
    fn a_name_that_is_not_the_headers_is_no_authorization() {
        let mut answering = secured();
        answering.judged(Ok(())).unwrap();
        let other = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>Y2FtcG9zLmxpdA==</auth>";
        assert!(text(&answering.frame(&element(other)).unwrap()).contains("<invalid-authzid/>"));
    }
}
