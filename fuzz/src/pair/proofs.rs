//! What either host has written itself: only that proves anything.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use heteronym_proto::checker::Scope;
use heteronym_proto::control::{Aid, Control};
use heteronym_proto::element::Element;
use heteronym_proto::framer::Frame;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;

use crate::bench::Side;

/// What one host has written.
#[derive(Default)]
pub(super) struct Proofs {
    /// All of it.
    said: HashSet<Bytes>,
    /// Those who are named in its requests.
    asked: HashMap<Aid, Pair>,
    /// It has answered these requests.
    responded: HashSet<Aid>,
    /// It has proved these of its domains, with the other's domain as the local one.
    activated: HashSet<(Aid, Name, Name)>,
}

impl Proofs {
    pub(super) fn wrote(&mut self, control: &Control) {
        self.said.insert(control.to_bytes());
        match control {
            Control::Request(request) => {
                let pair = Pair { local: request.initiator.clone(), remote: request.responder.clone() };
                self.asked.insert(request.aid, pair);
            }
            Control::Response(response) => drop(self.responded.insert(response.aid)),
            Control::Activate(activate) => {
                self.activated.insert((activate.aid, activate.responder.clone(), activate.initiator.clone()));
            }
            _ => (),
        }
    }

    /// Whether a pair may be active once this has arrived: it was said, or ends what was proved both ways before.
    pub(super) fn may_activate(&self, frame: &Frame) -> bool {
        let Frame::Element(bytes) = frame else { return false };
        let element = Element::parse(bytes, &Scope::SERVER);
        match element.map(|element| Control::read(&element)) {
            Ok(Ok(Control::Active { .. })) => true,
            Ok(Ok(control)) => self.said.contains(&control.to_bytes()),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Every pair that is active at `side` was proved by the host at the other end.
    pub(super) fn expect_of(&self, other: &Self, side: &Side) {
        for record in side.stream.records() {
            let Some(active) = &record.active else { continue };
            let Pair { local, remote } = &record.pair;
            let holds = if active.initiated {
                other.responded.contains(&active.aid()) && self.asked.get(&active.aid()) == Some(&record.pair)
            } else {
                other.activated.contains(&(active.aid(), local.clone(), remote.clone()))
            };
            assert!(holds, "{local} and {remote} are active, and nobody has proved it");
        }
    }
}
