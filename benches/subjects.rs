//! The subjects, each in a file of its own.

use clap::ValueEnum;

use crate::Failure;
use crate::subject::Subject;

pub mod heteronym;
pub mod relay;
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
///
/// # Errors
/// If one of them is not part of the harness.
pub fn all(against: &[Against]) -> Result<Vec<Box<dyn Subject>>, Failure> {
    let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
    if against.contains(&Against::Relay) {
        subjects.push(Box::new(relay::Relay));
    }
    subjects.push(Box::new(heteronym::Heteronym::default()));
    for of in against {
        match of {
            Against::Relay | Against::None => {}
            Against::Prosody | Against::Ejabberd | Against::Jabberd2 => {
                let name = of.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
                return Err(format!("{name} cannot be measured yet").into());
            }
        }
    }
    Ok(subjects)
}
