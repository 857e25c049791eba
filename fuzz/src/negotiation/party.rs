//! Our side of a negotiation, whichever it is.

use std::sync::Arc;

use heteronym_proto::classic::answering::{self, Answering, Audience, Offer};
use heteronym_proto::classic::opening::{self, Opening, Wish};
use heteronym_proto::framer::{Frame, FramingError};
use heteronym_proto::hosted::Hosted;
use heteronym_proto::negotiation::{Negotiation, NegotiationError, Output};

use super::Did;
use crate::vault::name;

pub(super) const OURS: &str = "xmpp.my.isp";
pub(super) const PEER: &str = "xmpp.other.isp";
const ID: &str = "id1";

/// What the first byte of an input says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) role: Role,
    /// TLS is there already.
    pub(super) secured: bool,
    /// The peer's certificate is for the name that it claims.
    pub(super) trusted: bool,
    /// Of classic S2S: dialback may prove a domain.
    pub(super) dialback: bool,
    /// Of classic S2S: nothing goes on without TLS.
    pub(super) needs_tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Dialling,
    Receiving,
    Opening,
    Answering,
}

/// A negotiation, and what is thought of the peer's certificate.
pub(super) struct Party {
    state: State,
    setting: Setting,
}

enum State {
    Host(Negotiation),
    Opening(Opening),
    Answering(Answering),
    Over,
}

impl Setting {
    pub(super) fn of(first: u8) -> Self {
        let role = [Role::Dialling, Role::Receiving, Role::Opening, Role::Answering][usize::from(first % 4)];
        let bit = |n: u8| first >> n & 1 == 0;
        // Who dials a host has TLS before the first byte.
        let secured = bit(2) || role == Role::Dialling;
        Self { role, secured, trusted: bit(3), dialback: bit(4), needs_tls: bit(5) }
    }
}

impl Party {
    pub(super) fn new(first: u8) -> (Self, Vec<Did>) {
        let setting = Setting::of(first);
        let (us, peer) = (name(OURS), name(PEER));
        let (state, did) = match setting.role {
            Role::Dialling => {
                let (state, outputs) = Negotiation::dial(us, peer);
                (State::Host(state), outputs.into_iter().map(Did::from).collect())
            }
            Role::Receiving if setting.secured => (State::Host(Negotiation::accept_secured(us, ID.into())), Vec::new()),
            Role::Receiving => (State::Host(Negotiation::accept_plain(us, ID.into())), Vec::new()),
            Role::Opening => {
                let Setting { trusted: external, dialback, needs_tls: tls_required, .. } = setting;
                let wish = Wish { from: us, to: peer, tls_required, external, dialback, bidi: true };
                let (opening, outputs) = Opening::new(wish, setting.secured);
                (State::Opening(opening), outputs.into_iter().map(Did::from).collect())
            }
            Role::Answering => {
                let to = Audience::Remote(Arc::new(Hosted::from_iter([(us, 0)])));
                let Setting { dialback, needs_tls: tls_required, .. } = setting;
                let offer = Offer { to, tls_required, dialback, bidi: true, max_bytes: 1 << 18, idle_seconds: 3600 };
                (State::Answering(Answering::new(offer, setting.secured, ID.into())), Vec::new())
            }
        };
        (Self { state, setting }, did)
    }

    pub(super) fn frame(&mut self, frame: Frame) -> Result<Vec<Did>, String> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Host(state) => self.host(state.frame(frame)),
            State::Opening(mut state) => {
                let next = state.frame(&frame);
                self.state = State::Opening(state);
                Ok(next.map_err(|error| error.to_string())?.into_iter().map(Did::from).collect())
            }
            State::Answering(mut state) => {
                let next = state.frame(&frame);
                self.answered(state, next)
            }
            State::Over => panic!("it is over"),
        }
    }

    /// The verdict on the certificate.
    pub(super) fn judge(&mut self) -> Result<Vec<Did>, String> {
        let verdict = if self.setting.trusted { Ok(()) } else { Err("another name".to_owned()) };
        match std::mem::replace(&mut self.state, State::Over) {
            State::Host(state) => self.host(state.judged(verdict)),
            State::Answering(mut state) => {
                let next = state.judged(verdict);
                self.answered(state, next)
            }
            State::Opening(_) | State::Over => panic!("nobody asked for that"),
        }
    }

    /// The peer's bytes are no stream any more; it is told so, in a stream.
    pub(super) fn unreadable(&mut self, fault: FramingError) {
        if let State::Host(state) = std::mem::replace(&mut self.state, State::Over) {
            match state.unreadable(fault) {
                Ok((_, outputs)) => assert!(matches!(outputs[..], [Output::Send(_), Output::Close(_)])),
                Err(error) => assert!(error.farewell().ends_with(b"</stream:stream>")),
            }
        }
    }

    fn host(&mut self, step: Result<(Negotiation, Vec<Output>), NegotiationError>) -> Result<Vec<Did>, String> {
        let (state, outputs) = step.map_err(|error| {
            assert!(error.farewell().ends_with(b"</stream:stream>"));
            error.to_string()
        })?;
        self.state = State::Host(state);
        Ok(outputs.into_iter().map(Did::from).collect())
    }

    fn answered(
        &mut self,
        state: Answering,
        next: Result<Vec<answering::Output>, heteronym_proto::classic::ClassicError>,
    ) -> Result<Vec<Did>, String> {
        let outputs = next.map_err(|error| {
            assert!(state.farewell(&error).ends_with(b"</stream:stream>"));
            error.to_string()
        })?;
        self.state = State::Answering(state);
        Ok(outputs.into_iter().map(Did::from).collect())
    }
}

impl From<Output> for Did {
    fn from(output: Output) -> Self {
        match output {
            Output::Send(bytes) => Self::Send(bytes),
            Output::Restart => Self::Restart,
            Output::StartTls => Self::StartTls,
            Output::Judge(name) => Self::Judge(name.to_string()),
            Output::Close(why) => Self::Close(why),
            Output::Established { peer, .. } => Self::Open(Some(peer.to_string())),
        }
    }
}

impl From<opening::Output> for Did {
    fn from(output: opening::Output) -> Self {
        match output {
            opening::Output::Send(bytes) => Self::Send(bytes),
            opening::Output::Restart => Self::Restart,
            opening::Output::StartTls => Self::StartTls,
            opening::Output::Opened(opened) => Self::Open(opened.authenticated.then(|| OURS.to_owned())),
        }
    }
}

impl From<answering::Output> for Did {
    fn from(output: answering::Output) -> Self {
        match output {
            answering::Output::Send(bytes) => Self::Send(bytes),
            answering::Output::Restart => Self::Restart,
            answering::Output::StartTls => Self::StartTls,
            answering::Output::Judge(name) => Self::Judge(name.to_string()),
            answering::Output::Close(condition) => Self::Close(condition.as_str()),
            answering::Output::Opened(opened) => Self::Open(opened.authenticated.map(|(from, _)| from.to_string())),
        }
    }
}
