//! `[federation]` and `[classic]`: how remote domains are reached.

use std::collections::BTreeMap;
use std::time::Duration;

use heteronym_proto::name::Name;

use super::network::by_name;
use super::reader::Section;
use super::value::{Choice, choice, duration, flag};

/// `[federation]`: host streams and the pairs on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// How remote domains are reached that have no entry in `domains`.
    pub policy: Policy,
    /// What the SRV records of an initiator's domain have to say.
    pub delegation: Delegation,
    /// How long an activation lasts.
    pub activation_lifetime: Duration,
    /// How long after an activation a remote domain does not fall back to classic S2S.
    pub pin: Duration,
    /// The policy for single remote domains.
    pub domains: BTreeMap<Name, Policy>,
}

/// Federation or classic S2S.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Federation where it is offered, classic S2S otherwise.
    #[default]
    Prefer,
    /// Federation and nothing else.
    Require,
    /// Classic S2S and nothing else.
    Off,
}

/// Whether an initiator's domain must name the peer host in its SRV records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delegation {
    /// It must.
    #[default]
    Require,
    /// A log line if it does not.
    Warn,
    /// Nobody looks.
    Off,
}

/// `[classic]`: S2S as every XMPP server speaks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classic {
    /// Whether it is used at all.
    pub enabled: bool,
    /// Whether dialback is offered and accepted besides certificates.
    pub dialback: bool,
}

impl Choice for Policy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("prefer", Self::Prefer), ("require", Self::Require), ("off", Self::Off)];
}

impl Choice for Delegation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("require", Self::Require), ("warn", Self::Warn), ("off", Self::Off)];
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            delegation: Delegation::default(),
            activation_lifetime: Duration::from_secs(24 * 3600),
            pin: Duration::from_secs(30 * DAY),
            domains: BTreeMap::new(),
        }
    }
}

impl Federation {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let lifetime = duration(Duration::from_secs(1)..=Duration::from_secs(30 * DAY));
        let pin = duration(Duration::ZERO..=YEAR);
        Self {
            policy: section.value("policy", choice).unwrap_or(default.policy),
            delegation: section.value("delegation", choice).unwrap_or(default.delegation),
            activation_lifetime: section.value("activation_lifetime", lifetime).unwrap_or(default.activation_lifetime),
            pin: section.value("pin", pin).unwrap_or(default.pin),
            domains: Self::read_domains(section, default.policy),
        }
    }

    fn read_domains(section: &mut Section<'_>, default: Policy) -> BTreeMap<Name, Policy> {
        let domains = section.named("domains", |domain, entry| {
            let policy = entry.needed("policy", "prefer | require | off", choice);
            (domain.to_owned(), policy.unwrap_or(default))
        });
        by_name(section, "domains", domains)
    }

    /// How `domain` is reached.
    #[must_use]
    pub fn policy_for(&self, domain: &Name) -> Policy {
        self.domains.get(domain).copied().unwrap_or(self.policy)
    }
}

impl Default for Classic {
    fn default() -> Self {
        Self { enabled: true, dialback: true }
    }
}

impl Classic {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: section.value("enabled", flag).unwrap_or(default.enabled),
            dialback: section.value("dialback", flag).unwrap_or(default.dialback),
        }
    }
}

/// Seconds.
const DAY: u64 = 24 * 3600;
/// As humantime counts it, 365.25 days.
const YEAR: Duration = Duration::from_secs(31_557_600);
