//! What came out of it: one document, or a table.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, Table, TableComponent};
use serde::Serialize;

use super::cast::{Cast, Side};
use super::ledger::Ledger;

/// Domains of one side that are named before the show.
const NAMED: usize = 8;

/// The figures. The names are a contract with whoever reads the document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    /// On either side.
    pub(super) domains: usize,
    /// As the router knows them that knows fewer.
    pub(super) pairs_active: usize,
    /// TCP connections between the two hosts.
    pub(super) host_connections: usize,
    /// What classic S2S would have needed: one for each direction of each pair.
    pub(super) classic_connections: usize,
    /// Stanzas of both sides; echoes are not among them.
    pub(super) stanzas_sent: u64,
    /// Those that arrived.
    pub(super) stanzas_delivered: u64,
    /// Those that came back to the sender.
    pub(super) stanzas_bounced: u64,
    /// Those of which nobody ever heard.
    pub(super) stanzas_lost: u64,
    /// Activations: from a pair's first stanza, handed to the router, to its arrival on the other side.
    pub(super) activation_ms_p50: f64,
    /// The same.
    pub(super) activation_ms_p99: f64,
    /// From component to component and back, one at a time.
    pub(super) round_trip_us_p50: f64,
    /// The same.
    pub(super) round_trip_us_p99: f64,
    /// The whole demonstration.
    pub(super) seconds: f64,
}

/// What was measured.
pub(super) struct Measured {
    /// As [`Report::pairs_active`].
    pub(super) pairs_active: usize,
    /// As [`Report::host_connections`].
    pub(super) host_connections: usize,
    /// One for each pair.
    pub(super) activations: Vec<Duration>,
    /// One for each echo.
    pub(super) round_trips: Vec<Duration>,
    /// The whole demonstration.
    pub(super) time: Duration,
}

impl Report {
    /// Sums it up.
    pub(super) fn new(cast: &Cast, ledger: &Ledger, measured: Measured) -> Self {
        let Measured { pairs_active, host_connections, mut activations, mut round_trips, time } = measured;
        let tally = ledger.tally();
        activations.sort_unstable();
        round_trips.sort_unstable();
        let milliseconds = |part| rounded(percentile(&activations, part).as_secs_f64() * 1e3);
        let microseconds = |part| rounded(percentile(&round_trips, part).as_secs_f64() * 1e6);
        Self {
            domains: cast.domains(Side::Mine).len(),
            pairs_active,
            host_connections,
            classic_connections: 2 * cast.pairs_total(),
            stanzas_sent: ledger.total(),
            stanzas_delivered: tally.delivered,
            stanzas_bounced: tally.bounced,
            stanzas_lost: ledger.total() - tally.settled(),
            activation_ms_p50: milliseconds(50),
            activation_ms_p99: milliseconds(99),
            round_trip_us_p50: microseconds(50),
            round_trip_us_p99: microseconds(99),
            seconds: rounded(time.as_secs_f64()),
        }
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let of = |n: usize| thousands(n as u64);
        let connections =
            format!("{}, where classic S2S needs {}", of(self.host_connections), of(self.classic_connections));
        let stanzas = format!(
            "{} sent, {} delivered, {} bounced, {} lost",
            thousands(self.stanzas_sent),
            thousands(self.stanzas_delivered),
            thousands(self.stanzas_bounced),
            thousands(self.stanzas_lost)
        );
        let activation = format!("{:.1} ms, and {:.1} ms at p99", self.activation_ms_p50, self.activation_ms_p99);
        let round_trip = format!("{:.0} µs, and {:.0} µs at p99", self.round_trip_us_p50, self.round_trip_us_p99);
        let pairs = format!("{} of {}", of(self.pairs_active), of(self.domains * self.domains));
        let rows = [
            ("Domain pairs active", Cell::new(pairs)),
            ("Connections", Cell::new(connections).fg(Color::Green)),
            ("Stanzas", Cell::new(stanzas)),
            ("Activation of a pair", Cell::new(activation)),
            ("Round trip", Cell::new(round_trip)),
            ("In all", Cell::new(format!("{:.1} s", self.seconds))),
        ];
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_style(TableComponent::VerticalLines, '│');
        for (name, value) in rows {
            table.add_row([Cell::new(name), value.add_attribute(Attribute::Bold)]);
        }
        format!("{table}\n")
    }
}

/// What is about to be seen.
pub(super) fn introduction(cast: &Cast, stanzas: u32) -> String {
    let [mine, other] = Side::BOTH.map(|side| column(side, cast));
    let width = mine.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let lines = mine.iter().zip(&other).enumerate().map(|(n, (mine, other))| {
        let between = if n == 0 { "══════════" } else { "" };
        format!("  {mine:width$}  {between:10}  {other}\n")
    });
    let (pairs, lines) = (cast.pairs_total(), lines.collect::<String>());
    let (pairs, stanzas) = (counted(pairs as u64, "domain pair"), counted(stanzas.into(), "stanza"));
    format!(
        "\nThe XMPP hosts of two providers, both on this machine, and one connection between them.\n\n{lines}\n\
         Every domain on the left talks to every domain on the right: {pairs},\n\
         each proved with the certificates of both domains, then {stanzas} in each direction.\n\n",
    )
}

fn column(side: Side, cast: &Cast) -> Vec<String> {
    let domains = cast.domains(side);
    let named = domains.iter().take(NAMED).cloned();
    let further = (domains.len() > NAMED).then(|| format!("… and {} more", domains.len() - NAMED));
    [side.host().to_owned(), "─".repeat(side.host().len())].into_iter().chain(named).chain(further).collect()
}

/// The nearest rank: the least value that `part` in a hundred do not exceed.
fn percentile(sorted: &[Duration], part: usize) -> Duration {
    let rank = (sorted.len() * part).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// More digits would only pretend.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// `1` and `stanza` as `1 stanza`, `2` as `2 stanzas`.
fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let measured: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&measured, 50), Duration::from_millis(100));
        assert_eq!(percentile(&measured, 99), Duration::from_millis(198));
        assert_eq!(percentile(&measured[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands).join(" "), "0 999 1,000 1,234,567");
    }

    #[test]
    fn the_sums_follow_from_the_ledger() {
        let cast = Cast::new(2);
        let mut ledger = Ledger::new(&cast, 10);
        let flow = cast.pairs().next().unwrap().from(Side::Mine);
        ledger.delivered(&cast, flow, 0);
        ledger.bounced(&cast, flow, 1);
        let time = Duration::from_millis(1234);
        let measured =
            Measured { pairs_active: 4, host_connections: 1, activations: vec![], round_trips: vec![], time };
        let report = Report::new(&cast, &ledger, measured);
        assert_eq!((report.classic_connections, report.stanzas_sent, report.stanzas_lost), (8, 80, 78));
        assert_eq!(report.seconds, 1.23);
        let table = report.table();
        assert!(table.contains("4 of 4") && table.contains("1, where classic S2S needs 8"), "{table}");
    }

    #[test]
    fn the_introduction_names_both_hosts_and_not_a_thousand_domains() {
        let text = introduction(&Cast::new(1000), 100);
        assert!(text.contains("xmpp.my.isp") && text.contains("xmpp.other.isp"), "{text}");
        assert!(text.contains("… and 992 more") && text.contains("1,000,000 domain pairs"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let text = introduction(&Cast::new(1), 1);
        assert!(text.contains(" 1 domain pair,") && text.contains(" 1 stanza in"), "{text}");
    }
}
