//! Which way the stanzas for a remote domain take: a link, classic S2S, or back (protocol §2).

use std::collections::HashMap;

use crate::name::Name;
use crate::registry::{Service, Target};
use crate::stanza_error::Condition;

/// Federation or classic S2S, for a remote domain.
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

/// The policy for all remote domains, and for those that have one of their own.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    of_all: Policy,
    of: HashMap<Name, Policy>,
}

impl Policies {
    /// `of_all` for every domain that `of` does not name.
    #[must_use]
    pub fn new(of_all: Policy, of: impl IntoIterator<Item = (Name, Policy)>) -> Self {
        Self { of_all, of: of.into_iter().collect() }
    }

    /// That of a domain.
    #[must_use]
    pub fn of(&self, domain: &Name) -> Policy {
        self.of.get(domain).copied().unwrap_or(self.of_all)
    }
}

/// What counts besides the look-up.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The policy for the domain.
    pub policy: Policy,
    /// Whether classic S2S may be used at all.
    pub classic: bool,
    /// Whether the domain was activated lately.
    pub pinned: bool,
}

/// Where stanzas go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over a link to one of these hosts.
    Federation(Vec<Target>),
    /// Over a stream of classic S2S.
    Classic(Instead),
    /// Back to their senders, with a text for people.
    Back(Condition, String),
}

/// Why stanzas take a stream of classic S2S.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// Why not a link, for people.
    pub why: String,
    /// What senders are told where there is no server either.
    pub not_found: Condition,
}

/// How a remote domain may come to us by classic S2S.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// By a certificate or by dialback.
    Anyhow,
    /// By a certificate: whoever can forge its DNS must not speak for a domain that is known to do better.
    ByCertificate,
    /// Not at all: why.
    Never(&'static str),
}

impl Circumstances {
    /// How the domain may come to us by classic S2S.
    #[must_use]
    pub fn admission(&self) -> Admission {
        match (self.classic, self.policy, self.pinned) {
            (false, ..) => Admission::Never("classic S2S is switched off here"),
            (true, Policy::Require, _) => Admission::Never("the policy for this domain is \"require\" (federation)"),
            (true, Policy::Prefer, true) => Admission::ByCertificate,
            (true, Policy::Prefer, false) | (true, Policy::Off, _) => Admission::Anyhow,
        }
    }

    /// The way, after a look-up of the domain's federation record.
    #[must_use]
    pub fn way(&self, service: Service) -> Way {
        match (self.policy, service) {
            (Policy::Off, _) => self.classic(Condition::RemoteServerNotFound, "the policy for this domain is \"off\""),
            (Policy::Prefer | Policy::Require, Service::Offered(targets)) => Way::Federation(targets),
            (Policy::Require, Service::Absent) => {
                let text = "the domain has no federation record, and the policy for it is \"require\"";
                Way::Back(Condition::RemoteServerNotFound, text.to_owned())
            }
            (Policy::Prefer, Service::Absent) if self.pinned => {
                let text = "the domain has no federation record any more, and is pinned";
                Way::Back(Condition::RemoteServerTimeout, text.to_owned())
            }
            (Policy::Prefer, Service::Absent) => {
                self.classic(Condition::RemoteServerNotFound, "the domain has no federation record")
            }
            (Policy::Prefer | Policy::Require, Service::Failed(why)) => self.instead(&why),
        }
    }

    /// The way where the host cannot be known or reached: `why`. Where it *refused*, there is none.
    #[must_use]
    pub fn instead(&self, why: &str) -> Way {
        if self.policy == Policy::Prefer && !self.pinned {
            return self.classic(Condition::RemoteServerTimeout, why);
        }
        Way::Back(Condition::RemoteServerTimeout, why.to_owned())
    }

    fn classic(&self, condition: Condition, why: &str) -> Way {
        if self.classic {
            return Way::Classic(Instead { why: why.to_owned(), not_found: condition });
        }
        Way::Back(condition, format!("{why}, and classic S2S is switched off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFER: Circumstances = Circumstances { policy: Policy::Prefer, classic: true, pinned: false };

    fn is_classic(way: &Way) -> bool {
        matches!(way, Way::Classic(_))
    }

    fn back(way: &Way) -> Option<Condition> {
        match way {
            Way::Back(condition, _) => Some(*condition),
            Way::Federation(_) | Way::Classic(_) => None,
        }
    }

    #[test]
    fn a_domains_own_policy_counts_before_that_of_all() {
        let name = |text| Name::parse(text).unwrap();
        let policies = Policies::new(Policy::Off, [(name("pessoa.lit"), Policy::Require)]);
        assert_eq!(
            (policies.of(&name("pessoa.lit")), policies.of(&name("campos.lit"))),
            (Policy::Require, Policy::Off)
        );
        assert_eq!(Policies::default().of(&name("pessoa.lit")), Policy::Prefer);
    }

    #[test]
    fn who_may_come_by_classic() {
        let pinned = Circumstances { pinned: true, ..PREFER };
        assert_eq!(PREFER.admission(), Admission::Anyhow);
        assert_eq!(pinned.admission(), Admission::ByCertificate);
        assert_eq!(Circumstances { policy: Policy::Off, ..pinned }.admission(), Admission::Anyhow);
        for closed in [Circumstances { policy: Policy::Require, ..PREFER }, Circumstances { classic: false, ..PREFER }]
        {
            assert!(matches!(closed.admission(), Admission::Never(_)));
        }
    }

    #[test]
    fn federation_where_it_is_offered() {
        let offered = Service::from_records([("xmpp.other.isp", 5270, 0)]);
        for policy in [Policy::Prefer, Policy::Require] {
            for pinned in [false, true] {
                let way = Circumstances { policy, pinned, classic: true }.way(offered.clone());
                assert!(matches!(way, Way::Federation(targets) if targets.len() == 1));
            }
        }
        assert!(is_classic(&Circumstances { policy: Policy::Off, ..PREFER }.way(offered)));
    }

    #[test]
    fn classic_where_it_is_not_and_where_it_cannot_be_known() {
        assert!(is_classic(&PREFER.way(Service::Absent)));
        assert!(is_classic(&PREFER.way(Service::Failed("SERVFAIL".to_owned()))));
        assert!(is_classic(&PREFER.instead("connection refused")));
    }

    #[test]
    fn a_pinned_domain_does_not_fall_back() {
        let pinned = Circumstances { pinned: true, ..PREFER };
        assert_eq!(back(&pinned.way(Service::Absent)), Some(Condition::RemoteServerTimeout));
        assert_eq!(back(&pinned.way(Service::Failed(String::new()))), Some(Condition::RemoteServerTimeout));
        assert_eq!(back(&pinned.instead("")), Some(Condition::RemoteServerTimeout));
        let off = Circumstances { policy: Policy::Off, ..pinned };
        assert!(is_classic(&off.way(Service::Absent)), "an operator can say so at once");
    }

    #[test]
    fn where_federation_is_required_nothing_else_is_used() {
        let required = Circumstances { policy: Policy::Require, ..PREFER };
        assert_eq!(back(&required.way(Service::Absent)), Some(Condition::RemoteServerNotFound));
        assert_eq!(back(&required.instead("")), Some(Condition::RemoteServerTimeout));
    }

    #[test]
    fn without_classic_stanzas_go_back() {
        let without = Circumstances { classic: false, ..PREFER };
        assert_eq!(back(&without.way(Service::Absent)), Some(Condition::RemoteServerNotFound));
        assert_eq!(back(&without.instead("")), Some(Condition::RemoteServerTimeout));
        assert_eq!(
            back(&Circumstances { policy: Policy::Off, ..without }.way(Service::Absent)),
            Some(Condition::RemoteServerNotFound)
        );
    }
}
