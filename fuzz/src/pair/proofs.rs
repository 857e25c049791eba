//! What either host has written itself: only that proves anything.

use std::collections::{HashMap, HashSet};

use heteronym_proto::control::{Aid, Control};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;

use crate::bench::Side;

/// What one host has written.
#[derive(Default)]
pub(super) struct Proofs {
    /// Those who are named in its requests.
    asked: HashMap<Aid, Pair>,
    /// It has answered these requests.
    responded: HashSet<Aid>,
    /// It has proved these of its domains, with the other's domain as the local one.
    activated: HashSet<(Aid, Name, Name)>,
}

impl Proofs {
    pub(super) fn wrote(&mut self, control: &Control) {
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

    /// Every pair that is active at `side` was proved by the host at the other end.
    pub(super) fn expect_of(&self, other: &Self, side: &Side) {
        for record in side.stream.records() {
            let Some(active) = &record.active else { continue };
            let Pair { local, remote } = &record.pair;
            let holds = if active.initiated {
                other.responded.contains(&active.aid) && self.asked.get(&active.aid) == Some(&record.pair)
            } else {
                other.activated.contains(&(active.aid, local.clone(), remote.clone()))
            };
            assert!(holds, "{local} and {remote} are active, and nobody has proved it");
        }
    }
}
