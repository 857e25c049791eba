//! The subjects, each in a file of its own.

use clap::ValueEnum;

use crate::subject::Subject;

pub mod heteronym;
pub mod relay;
pub mod rival;
pub mod running;

/// What heteronym is measured beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The limit: one TLS 1.3 stream that nobody looks into
    Relay,
    /// Debian's Prosody
    Prosody,
    /// Debian's ejabberd
    Ejabberd,
    /// Debian's jabberd2, which multiplexes over dialback
    Jabberd2,
    /// Nobody
    None,
}

/// Everything that is measured, the reference first: the relay, if it is among `against`, then heteronym.
#[must_use]
pub fn all(against: &[Against]) -> Vec<Box<dyn Subject>> {
    let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
    if against.contains(&Against::Relay) {
        subjects.push(Box::new(relay::Relay));
    }
    subjects.push(Box::new(heteronym::Heteronym::default()));
    for of in against {
        match of {
            Against::Relay | Against::None => {}
            Against::Prosody => subjects.push(Box::new(rival::Rival("prosody"))),
            Against::Ejabberd => subjects.push(Box::new(rival::Rival("ejabberd"))),
            Against::Jabberd2 => subjects.push(Box::new(rival::Rival("jabberd2"))),
        }
    }
    subjects
}
