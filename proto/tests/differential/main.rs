//! The checker against two parsers that others wrote: what it passes they read alike, and what it
//! refuses they refuse, apart from the differences that are listed.
//!
//! `DIFFERENTIAL_CASES=1000000 cargo test -p heteronym-proto --test differential` for more.

mod by_expat;
mod by_rxml;
mod cases;
mod differences;
mod reading;

use differences::{Difference, EXPAT, Outcome, RXML};
use reading::Reading;

/// Damaged cases, unless the environment says otherwise: a few seconds' worth.
const CASES: usize = 60_000;
/// Cases at once in memory.
const BATCH: usize = 20_000;

type Parser = fn(&[Vec<u8>]) -> Vec<Reading>;
const PARSERS: [(&str, Parser, &[Difference]); 2] = [("expat", by_expat::read, &EXPAT), ("rxml", by_all_rxml, &RXML)];

fn by_all_rxml(cases: &[Vec<u8>]) -> Vec<Reading> {
    cases.iter().map(|case| by_rxml::read(case)).collect()
}

/// How many of `cases` the checker passes; every other parser agrees, or the difference is known.
fn compare(cases: &[Vec<u8>]) -> usize {
    let ours: Vec<_> = cases.iter().map(|case| reading::ours(case)).collect();
    for (parser, read, table) in PARSERS {
        for ((case, ours), theirs) in cases.iter().zip(&ours).zip(&read(cases)) {
            let outcome = Outcome { case, ours, theirs };
            let is_known = outcome.is_alike() || outcome.explained_by(table).is_some();
            assert!(is_known, "{}\nours: {ours:?}\n{parser}: {theirs:?}", case.escape_ascii());
        }
    }
    ours.iter().filter(|reading| reading.is_ok()).count()
}

#[test]
fn every_parser_writes_what_it_reads_in_one_form() {
    let case = "<a xml:lang='pt' b='1&lt;' p:c='2' xmlns:p='urn:p'>x<p:d xmlns=''>\u{e9}</p:d><![CDATA[<]]></a>";
    let expected = "<13:jabber:server1:a2:@b2:1<9:@xml:lang2:pt2:x<<5:urn:p1:d2:\u{e9}>>";
    assert_eq!(reading::ours(case.as_bytes()).as_deref(), Ok(expected));
    for (parser, read, _) in PARSERS {
        assert_eq!(read(&[case.into()]), [Ok(expected.to_owned())], "{parser}");
    }
}

#[test]
fn the_seeds_are_read_alike() {
    compare(&cases::seeds());
}

#[test]
fn damaged_stanzas_are_read_alike() {
    let count = std::env::var("DIFFERENTIAL_CASES").map_or(CASES, |count| count.parse().expect("a number"));
    let seeds = cases::seeds();
    let passed: usize =
        (0..count).step_by(BATCH).map(|from| compare(&cases::damaged(&seeds, from, BATCH.min(count - from)))).sum();
    assert!((count / 10..count / 2).contains(&passed), "{passed} of {count} passed: damaged too much or too little");
}

#[test]
fn every_known_difference_still_occurs() {
    for (parser, read, table) in PARSERS {
        for difference in table {
            let case = (difference.example)().into_bytes();
            let (ours, theirs) = (reading::ours(&case), read(std::slice::from_ref(&case)).remove(0));
            let outcome = Outcome { case: &case, ours: &ours, theirs: &theirs };
            assert!(!outcome.is_alike(), "{parser} does not differ any more ({}): {ours:?}", difference.why);
            let known = outcome.explained_by(table).map(|difference| difference.why);
            assert_eq!(known, Some(difference.why), "{parser}: {}\n{ours:?}\n{theirs:?}", case.escape_ascii());
        }
    }
}
