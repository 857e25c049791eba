//! Who takes part: two hosts, and the domains on either side.

use std::collections::HashMap;

use super::authority::{KeyKind, KeyUsage};

/// What a provider's customer has under a name of its own: the domain itself, and these below it.
const SERVICES: [&str; 4] = ["", "chat.", "ft.", "pubsub."];

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// `xmpp.my.isp`
    Mine,
    /// `xmpp.other.isp`
    Other,
}

impl Side {
    /// Both, in the order of their indices.
    pub(super) const BOTH: [Self; 2] = [Self::Mine, Self::Other];

    pub(super) fn index(self) -> usize {
        match self {
            Self::Mine => 0,
            Self::Other => 1,
        }
    }

    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Mine => Self::Other,
            Self::Other => Self::Mine,
        }
    }

    /// The name of the host.
    pub(super) fn host(self) -> &'static str {
        match self {
            Self::Mine => "xmpp.my.isp",
            Self::Other => "xmpp.other.isp",
        }
    }

    /// The keys of its certificates: both suites are to be seen, the one that encrypts to an RSA
    /// certificate, and the one with HPKE for all others.
    pub(super) fn keys(self) -> (KeyKind, KeyUsage) {
        match self {
            Self::Mine => (KeyKind::Rsa2048, KeyUsage::SignatureAndEncipherment),
            Self::Other => (KeyKind::P256, KeyUsage::Signature),
        }
    }

    /// The domains' own names, as many as there are before numbers are needed.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Mine => &["saramago", "camoes", "eca", "florbela", "sophia", "torga", "bocage", "garrett"],
            Self::Other => &["pessoa", "reis", "campos", "caeiro", "soares", "baldaya", "guedes", "mora"],
        }
    }
}

/// Every domain and its place.
#[derive(Debug)]
pub(super) struct Cast {
    domains: [Vec<String>; 2],
    places: HashMap<String, (Side, usize)>,
}

/// A domain pair, by the places of its two domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    places: [usize; 2],
}

/// One direction of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    /// The pair.
    pub(super) pair: Pair,
    /// Who sends.
    pub(super) from: Side,
}

impl Cast {
    /// `count` domains on either side.
    pub(super) fn new(count: usize) -> Self {
        let domains = Side::BOTH.map(|side| (0..count).map(|place| domain(side, place)).collect::<Vec<_>>());
        let placed = |side: Side| domains[side.index()].iter().enumerate().map(move |(n, name)| (name, (side, n)));
        let places = Side::BOTH.into_iter().flat_map(placed).map(|(name, place)| (name.clone(), place)).collect();
        Self { domains, places }
    }

    /// The domains of one side.
    pub(super) fn domains(&self, side: Side) -> &[String] {
        &self.domains[side.index()]
    }

    /// How many pairs there are.
    pub(super) fn pairs_total(&self) -> usize {
        self.domains[0].len() * self.domains[1].len()
    }

    /// Every pair.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Pair> + use<> {
        let (mine, other) = (self.domains[0].len(), self.domains[1].len());
        (0..mine).flat_map(move |mine| (0..other).map(move |other| Pair { places: [mine, other] }))
    }

    /// A number for each pair, below [`pairs_total`](Self::pairs_total).
    pub(super) fn number(&self, pair: Pair) -> usize {
        pair.places[0] * self.domains[1].len() + pair.places[1]
    }

    /// The sending and the receiving domain of `flow`.
    pub(super) fn names(&self, flow: Flow) -> (&str, &str) {
        let name = |side: Side| self.domains[side.index()][flow.pair.places[side.index()]].as_str();
        (name(flow.from), name(flow.from.opposite()))
    }

    /// The flow from one domain to another, if it is one between the two hosts.
    pub(super) fn flow(&self, from: &str, to: &str) -> Option<Flow> {
        let (sender, from_place) = *self.places.get(from)?;
        let (receiver, to_place) = *self.places.get(to)?;
        let places = match (sender, receiver) {
            (Side::Mine, Side::Other) => [from_place, to_place],
            (Side::Other, Side::Mine) => [to_place, from_place],
            (Side::Mine, Side::Mine) | (Side::Other, Side::Other) => return None,
        };
        Some(Flow { pair: Pair { places }, from: sender })
    }
}

impl Pair {
    /// Who asks for its activation: each side for every other pair, so that both roles are played.
    pub(super) fn initiator(self) -> Side {
        if (self.places[0] + self.places[1]).is_multiple_of(2) { Side::Mine } else { Side::Other }
    }

    /// The direction in which `from` sends.
    pub(super) fn from(self, from: Side) -> Flow {
        Flow { pair: self, from }
    }
}

fn domain(side: Side, place: usize) -> String {
    let names = side.names();
    let (family, service) = (place / SERVICES.len(), SERVICES[place % SERVICES.len()]);
    let name = names[family % names.len()];
    match family / names.len() {
        0 => format!("{service}{name}.lit"),
        round => format!("{service}{name}-{}.lit", round + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_domains_are_one_with_its_services() {
        let cast = Cast::new(4);
        assert_eq!(
            cast.domains(Side::Mine),
            ["saramago.lit", "chat.saramago.lit", "ft.saramago.lit", "pubsub.saramago.lit"]
        );
        assert_eq!(cast.pairs().count(), 16);
    }

    #[test]
    fn a_thousand_domains_have_a_thousand_names() {
        let cast = Cast::new(1000);
        assert_eq!(cast.places.len(), 2000);
        assert_eq!(cast.domains(Side::Other)[999], "pubsub.reis-32.lit");
    }

    #[test]
    fn a_flow_is_known_by_its_domains() {
        let cast = Cast::new(3);
        for pair in cast.pairs() {
            for flow in Side::BOTH.map(|side| pair.from(side)) {
                let (from, to) = cast.names(flow);
                assert_eq!(cast.flow(from, to), Some(flow));
            }
        }
        assert_eq!(cast.flow("saramago.lit", "chat.saramago.lit"), None, "one side");
        assert_eq!(cast.flow("saramago.lit", "xmpp.other.isp"), None, "no domain");
    }

    #[test]
    fn every_pair_has_a_number_of_its_own_and_both_sides_initiate() {
        let cast = Cast::new(3);
        let numbers: Vec<_> = cast.pairs().map(|pair| cast.number(pair)).collect();
        assert_eq!(numbers, (0..9).collect::<Vec<_>>());
        assert_eq!(cast.pairs().filter(|pair| pair.initiator() == Side::Other).count(), 4);
    }
}
