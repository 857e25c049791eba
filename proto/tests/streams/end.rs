//! One end of a negotiation, with its framer, as a shell would drive it.

use bytes::BytesMut;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use heteronym_proto::name::Name;
use heteronym_proto::negotiation::{Negotiation, NegotiationError, Output};
use heteronym_proto::stream_error::Condition;

use crate::name;

pub(crate) const US: &str = "xmpp.my.isp";
pub(crate) const PEER: &str = "xmpp.other.isp";

/// One end: a negotiation with its framer, as a shell would drive it.
pub(crate) struct End {
    state: Option<Negotiation>,
    pub(crate) framer: Framer,
    out: BytesMut,
    /// What a chain is found to be.
    pub(crate) verdict: Result<(), String>,
    pub(crate) judged: Vec<Name>,
    pub(crate) established: Option<(Name, Option<String>)>,
    pub(crate) starts_tls: bool,
    pub(crate) closed: Option<&'static str>,
    pub(crate) error: Option<NegotiationError>,
}

impl End {
    fn new(state: Negotiation, outputs: Vec<Output>) -> Self {
        let mut end = Self {
            state: Some(state),
            framer: Framer::new(UNAUTHENTICATED_BYTES),
            out: BytesMut::new(),
            verdict: Ok(()),
            judged: Vec::new(),
            established: None,
            starts_tls: false,
            closed: None,
            error: None,
        };
        end.perform(outputs);
        end
    }

    pub(crate) fn dialling() -> Self {
        let (state, outputs) = Negotiation::dial(name(US), name(PEER));
        Self::new(state, outputs)
    }

    pub(crate) fn receiving() -> Self {
        Self::new(Negotiation::accept_secured(name(PEER), "id1".to_owned()), Vec::new())
    }

    pub(crate) fn receiving_plain() -> Self {
        Self::new(Negotiation::accept_plain(name(PEER), "id1".to_owned()), Vec::new())
    }

    /// Has the end authenticated by a peer that behaves, up to the restart.
    pub(crate) fn receiving_authenticated() -> Self {
        let mut end = Self::receiving();
        end.hear(header(US, PEER));
        end.hear(AUTH);
        end.says();
        end
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(bytes) => self.out.extend_from_slice(&bytes),
                Output::Restart => self.framer.restart(),
                Output::StartTls => self.starts_tls = true,
                Output::Judge(name) => {
                    self.judged.push(name);
                    let state = self.state.take().expect("a state");
                    let step = state.judged(self.verdict.clone());
                    self.step(step);
                }
                Output::Close(why) => self.closed = Some(why),
                Output::Established { peer, lang, .. } => self.established = Some((peer, lang)),
            }
        }
    }

    fn step(&mut self, step: Result<(Negotiation, Vec<Output>), NegotiationError>) {
        match step {
            Ok((state, outputs)) => {
                self.state = Some(state);
                self.perform(outputs);
            }
            Err(error) => {
                self.out.extend_from_slice(&error.farewell());
                self.error = Some(error);
            }
        }
    }

    pub(crate) fn hear(&mut self, text: impl AsRef<[u8]>) {
        self.framer.push(BytesMut::from(text.as_ref()));
        loop {
            match self.framer.next_frame() {
                Ok(Some(frame)) => self.frame(frame),
                Ok(None) => return,
                Err(fault) => {
                    if let Some(state) = self.state.take() {
                        let step = state.unreadable(fault);
                        self.step(step);
                    }
                    return;
                }
            }
        }
    }

    fn frame(&mut self, frame: Frame) {
        if let Some(state) = self.state.take().filter(|_| self.closed.is_none()) {
            let step = state.frame(frame);
            self.step(step);
        }
    }

    pub(crate) fn says(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out).to_vec()).expect("UTF-8")
    }

    /// The error that ended it, however it was told.
    pub(crate) fn ended_with(&self) -> Option<&'static str> {
        self.told().map(Condition::as_str).or(self.closed)
    }

    pub(crate) fn told(&self) -> Option<Condition> {
        match &self.error {
            Some(NegotiationError::Told(error)) => Some(error.condition),
            Some(_) | None => None,
        }
    }
}

/// Carries bytes between both ends until there are no more.
pub(crate) fn talk(dialling: &mut End, receiving: &mut End) {
    loop {
        let (there, back) = (dialling.says(), receiving.says());
        if there.is_empty() && back.is_empty() {
            return;
        }
        receiving.hear(&there);
        dialling.hear(&back);
    }
}

pub(crate) fn header(from: &str, to: &str) -> String {
    format!(
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='{from}' \
         to='{to}' version='1.0' xml:lang='pt'>"
    )
}

pub(crate) const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
pub(crate) const FEATURES: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>EXTERNAL</mechanism></mechanisms></stream:features>";
pub(crate) const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
