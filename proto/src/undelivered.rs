//! Why a stanza was not delivered, and what its sender is told.

use crate::control::UndeliveredReason;
use crate::stanza_error::Condition;

impl UndeliveredReason {
    /// What a stanza is handed back with whose sender would get this condition.
    #[must_use]
    pub fn of(condition: Condition) -> Self {
        if condition == Condition::ResourceConstraint {
            Self::Overflow
        } else if condition == Condition::PolicyViolation {
            Self::TooLarge
        } else {
            Self::DomainUnavailable
        }
    }

    /// What the sender of a stanza is told that was handed back for it.
    #[must_use]
    pub fn told(self) -> (Condition, &'static str) {
        match self {
            Self::PairNotActive => (Condition::RemoteServerTimeout, "the pair does not stay active"),
            Self::DomainUnavailable => (Condition::RemoteServerTimeout, "the domain's server is down"),
            Self::Overflow => (Condition::ResourceConstraint, "a queue on the other side is full"),
            Self::TooLarge => (Condition::PolicyViolation, "the stanza is too large for the other side"),
            Self::Policy => (Condition::PolicyViolation, "the other side does not take such a stanza"),
        }
    }
}
