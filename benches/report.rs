//! What was measured: as a table, and as JSON.

use std::collections::BTreeMap;
use std::process::Command;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

/// A figure of a mode.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    /// Digits behind the point in the table.
    pub digits: usize,
    /// How it is compared with the reference's.
    pub compare: Compare,
}

/// How a figure is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// It is not.
    Not,
    /// By what it is a multiple of.
    Ratio,
    /// By what is to be added.
    Difference,
}

/// Which of several rounds stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Median {
    /// The one in the middle by this column.
    By(usize),
    /// None: each figure is the middle of its own.
    Each,
}

/// What one subject gave in each round.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub subject: String,
    /// Pairs of domains, or domains where a mode has no pairs.
    pub pairs: usize,
    /// The figures of each round, in the order of the columns; NaN: there is none.
    pub rounds: Vec<Vec<f64>>,
}

/// Everything that one call found out.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was measured.
    pub mode: &'static str,
    /// By which options.
    pub settings: Value,
    /// The limits that were raised for it: key and value.
    pub raised: Vec<(String, String)>,
    /// What the figures are.
    pub columns: &'static [Column],
    /// How rounds become one figure.
    pub median: Median,
    /// Whom the others are compared with.
    pub reference: String,
    /// The figures.
    pub series: Vec<Series>,
    /// What else is to be said, a line each.
    pub notes: Vec<String>,
}

impl Column {
    /// A figure that is not compared.
    pub(crate) const fn plain(key: &'static str, title: &'static str, digits: usize) -> Self {
        Self { key, title, digits, compare: Compare::Not }
    }
}

impl Series {
    fn median(&self, by: Median) -> Vec<f64> {
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        match by {
            Median::By(column) => {
                let mut rounds: Vec<&Vec<f64>> = self.rounds.iter().collect();
                rounds.sort_by(|a, b| a[column].total_cmp(&b[column]));
                rounds.get(rounds.len() / 2).map_or_else(Vec::new, |round| (*round).clone())
            }
            Median::Each => {
                let columns = self.rounds.first().map_or(0, Vec::len);
                (0..columns).map(|column| middle(self.rounds.iter().map(|round| round[column]).collect())).collect()
            }
        }
    }
}

impl Report {
    /// Without figures, limits that were raised, and a reference.
    #[must_use]
    pub fn new(mode: &'static str, settings: Value, columns: &'static [Column], median: Median) -> Self {
        let (raised, reference, series, notes) = (Vec::new(), String::new(), Vec::new(), Vec::new());
        Self { mode, settings, raised, columns, median, reference, series, notes }
    }

    /// Adds a round's figures to their series.
    pub fn add(&mut self, subject: &str, pairs: usize, round: Vec<f64>) {
        match self.series.iter_mut().find(|series| series.subject == subject && series.pairs == pairs) {
            Some(series) => series.rounds.push(round),
            None => self.series.push(Series { subject: subject.to_owned(), pairs, rounds: vec![round] }),
        }
    }

    /// The median of one figure of one series.
    #[must_use]
    pub fn figure(&self, series: &Series, key: &str) -> f64 {
        let column = self.columns.iter().position(|column| column.key == key);
        column.and_then(|column| series.median(self.median).get(column).copied()).unwrap_or(f64::NAN)
    }

    /// The subjects in the order in which they ran.
    #[must_use]
    pub fn subjects(&self) -> Vec<&str> {
        let mut subjects: Vec<&str> = Vec::new();
        for series in &self.series {
            if !subjects.contains(&series.subject.as_str()) {
                subjects.push(&series.subject);
            }
        }
        subjects
    }

    /// The figures, and how they compare.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}: {}\n", self.mode, self.settings);
        for (key, value) in &self.raised {
            text += &format!("limit raised for it: {key} = {value}\n");
        }
        text += &format!("{}\n", self.figures());
        if let Some(compared) = self.compared() {
            text += &format!("beside {}:\n{compared}\n", self.reference);
        }
        self.notes.iter().fold(text, |text, note| text + note + "\n")
    }

    fn figures(&self) -> Table {
        let titles = self.columns.iter().map(|column| column.title.to_owned());
        let mut table = table(titles);
        for series in &self.series {
            let median = series.median(self.median);
            let figures = self.columns.iter().zip(&median).map(|(column, value)| shown(*value, column.digits));
            table.add_row([series.subject.clone(), series.pairs.to_string()].into_iter().chain(figures));
        }
        table
    }

    fn compared(&self) -> Option<Table> {
        let columns: Vec<&Column> = self.columns.iter().filter(|column| column.compare != Compare::Not).collect();
        let mut table = table(columns.iter().map(|column| column.title.to_owned()));
        let mut rows = 0;
        for series in self.series.iter().filter(|series| series.subject != self.reference) {
            let reference = self.beside(series)?;
            let of = |column: &&Column| {
                let value = (self.figure(series, column.key), self.figure(reference, column.key));
                match column.compare {
                    Compare::Ratio => format!("{} ×", shown(value.0 / value.1, 2)),
                    Compare::Difference => format!("{:+.*}", column.digits, value.0 - value.1),
                    Compare::Not => String::new(),
                }
            };
            let figures = columns.iter().map(of);
            table.add_row([series.subject.clone(), series.pairs.to_string()].into_iter().chain(figures));
            rows += 1;
        }
        (rows > 0 && !columns.is_empty()).then_some(table)
    }

    /// The reference's series with as many pairs, or the only one that it has.
    fn beside(&self, series: &Series) -> Option<&Series> {
        let mut of = self.series.iter().filter(|other| other.subject == self.reference);
        let same = of.clone().find(|other| other.pairs == series.pairs);
        same.or_else(|| of.next())
    }

    /// The document of `--json`.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({
            "commit": commit(),
            "machine": machine(),
            "mode": self.mode,
            "settings": self.settings,
            "raised": self.raised.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>(),
            "reference": self.reference,
            "subjects": self.series.iter().map(|series| self.of_series(series)).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    fn of_series(&self, series: &Series) -> Value {
        let named = |figures: &[f64]| {
            let pairs = self.columns.iter().zip(figures).filter(|(_, value)| value.is_finite());
            pairs.map(|(column, value)| (column.key.to_owned(), json!(value))).collect::<Map<_, _>>()
        };
        let mut compared = BTreeMap::new();
        if let Some(reference) = self.beside(series) {
            for column in self.columns {
                let (value, base) = (self.figure(series, column.key), self.figure(reference, column.key));
                let compared_to = match column.compare {
                    Compare::Ratio => value / base,
                    Compare::Difference => value - base,
                    Compare::Not => f64::NAN,
                };
                if compared_to.is_finite() {
                    compared.insert(column.key, compared_to);
                }
            }
        }
        json!({
            "name": series.subject,
            "pairs": series.pairs,
            "rounds": series.rounds.iter().map(|round| named(round)).collect::<Vec<_>>(),
            "median": named(&series.median(self.median)),
            "beside_reference": compared,
        })
    }
}

fn table(titles: impl Iterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["subject".to_owned(), "pairs".to_owned()].into_iter().chain(titles));
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn shown(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

/// The commit that is checked out, with a mark where files differ from it; none outside a repository.
fn commit() -> Option<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { commit } else { commit + " with changes" })
}

fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({ "cores": cores, "cpu": cpu.map(|(_, name)| name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { key: "cpu", title: "CPU", digits: 2, compare: Compare::Ratio },
        Column { key: "p50", title: "p50", digits: 1, compare: Compare::Difference },
        Column { key: "mib", title: "MiB", digits: 0, compare: Compare::Not },
    ];

    fn report(median: Median) -> Report {
        let mut report = Report {
            raised: vec![("activations_per_second".into(), "9".into())],
            reference: "relay".into(),
            notes: vec!["a note".into()],
            ..Report::new("load", json!({ "bytes": 200 }), COLUMNS, median)
        };
        for (subject, rounds) in [("relay", [1.0, 3.0, 2.0]), ("heteronym", [6.0, 4.0, 5.0])] {
            rounds.iter().for_each(|cpu| report.add(subject, 1, vec![*cpu, 10.0 - cpu, f64::NAN]));
        }
        report
    }

    #[test]
    fn a_median_is_a_round_or_each_figures_own() {
        assert_eq!(report(Median::By(0)).series[0].median(Median::By(0))[..2], [2.0, 8.0]);
        let mut uneven = report(Median::Each);
        uneven.series[0].rounds = vec![vec![1.0, 5.0, 0.0], vec![2.0, 7.0, 0.0], vec![3.0, 6.0, 0.0]];
        assert_eq!(uneven.series[0].median(Median::Each), [2.0, 6.0, 0.0]);
    }

    #[test]
    fn the_document_has_rounds_median_and_comparison() {
        let document = report(Median::By(0)).document();
        let heteronym = &document["subjects"][1];
        assert_eq!(heteronym["median"], json!({ "cpu": 5.0, "p50": 5.0 }));
        assert_eq!(heteronym["beside_reference"], json!({ "cpu": 2.5, "p50": -3.0 }));
        assert_eq!(heteronym["rounds"].as_array().unwrap().len(), 3);
        assert_eq!(document["raised"]["activations_per_second"], "9");
    }

    #[test]
    fn the_table_says_what_was_raised_and_how_it_compares() {
        let table = report(Median::By(0)).table();
        for text in ["activations_per_second = 9", "2.50 ×", "-3.0", "a note"] {
            assert!(table.contains(text), "{text} in {table}");
        }
    }
}
