//! Whole routers on virtual time: whatever happens, every stanza has exactly one outcome, in order.
//!
//! Two or three routers, each with the cores of all its actors, exchange stanzas over wires that break at any
//! byte, stall, and swallow; servers go and stick, certificates and keys are renewed, clocks jump, processes
//! are killed. What happens comes from a number, the seed, and what must hold is looked at after each step.
//!
//! ```text
//! cargo test -p heteronym-proto --test simulation                     # 2,000 seeds
//! SEED=7 cargo test -p heteronym-proto --test simulation one_seed     # one of them, step by step
//! SEEDS=1000000 cargo test --release -p heteronym-proto --test simulation every    # a night's worth
//! cargo test -p heteronym-proto --features broken --test simulation              # with faults built in
//! ```

#[path = "simulation/agenda.rs"]
mod agenda;
#[path = "simulation/end.rs"]
mod end;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/local.rs"]
mod local;
#[path = "simulation/process.rs"]
mod process;
#[path = "simulation/router.rs"]
mod router;
#[path = "link/vault.rs"]
#[expect(dead_code, reason = "the tests of one link use more of it")]
mod vault;
#[path = "simulation/world.rs"]
mod world;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use world::World;

/// Things that users do, or that go wrong, for each seed.
const TURNS: usize = 120;

#[expect(clippy::disallowed_methods, reason = "an origin is needed; from there on time is virtual")]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[cfg(not(feature = "broken"))]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.replace(['_', ','], "").parse().ok()
}

/// What is wrong with a seed, if something is.
fn judge(seed: u64) -> Result<World, String> {
    let mut world = World::new(seed, *ORIGIN, TURNS);
    world.run()?;
    Ok(world)
}

/// The first of so many seeds that something is wrong with, and what.
fn search(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    let (next, threads) = (AtomicU64::new(seeds.start), std::thread::available_parallelism().map_or(1, usize::from));
    let found = std::thread::scope(|scope| {
        let look = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return None;
                }
                let judged = std::panic::catch_unwind(|| judge(seed).err());
                if let Some(wrong) = judged.unwrap_or_else(|_| Some("panic".to_owned())) {
                    next.store(seeds.end, Ordering::Relaxed);
                    return Some((seed, wrong));
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(look)).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("it catches panics")).collect::<Vec<_>>()
    });
    found.into_iter().min()
}

#[cfg(not(feature = "broken"))]
#[test]
fn every_stanza_has_one_outcome_whatever_happens_in_2000_seeds() {
    let seeds = number("SEEDS").unwrap_or(2000);
    if let Some((seed, wrong)) = search(0..seeds) {
        panic!("{wrong}\nagain: SEED={seed} cargo test -p heteronym-proto --test simulation one_seed");
    }
}

#[cfg(not(feature = "broken"))]
#[test]
fn one_seed_replays_step_by_step() {
    let seed = number("SEED");
    let mut world = World::new(seed.unwrap_or(1), *ORIGIN, TURNS);
    (world.trace, world.ledger.told) = (seed.is_some(), seed.is_some());
    let judged = world.run();
    assert_eq!(judged, Ok(()));
    assert!(world.ledger.accepted() > 50, "users have sent something");
    let again = judge(seed.unwrap_or(1)).expect("it went well before");
    assert_eq!(world.history, again.history, "the same seed is the same story");
}

/// Each fault is found, and by the look that it should be found by.
#[cfg(feature = "broken")]
#[test]
#[expect(clippy::print_stdout, reason = "what found it is of interest")]
fn a_broken_build_is_caught() {
    use heteronym_proto::broken::{Fault, build_in};

    for fault in Fault::NOTICED {
        let looks: &[&str] = match fault {
            Fault::ArrivedGoesAgain => &["once", "order"],
            Fault::LostGoesNot => &["lost"],
            Fault::AgainGoesLast => &["order"],
            Fault::InactiveIsTaken => &["active"],
            Fault::NoBound => &["bounds"],
            Fault::TimersStay => &["rest"],
            Fault::DoubtIsHidden => &["doubt"],
            Fault::PairPanics | Fault::LinkPanics | Fault::LocalPanics => &["panic"],
        };
        build_in(fault);
        let (seed, wrong) = search(0..2000).unwrap_or_else(|| panic!("nobody notices {fault:?}"));
        println!("{fault:?}: seed {seed}: {wrong}");
        assert!(looks.iter().any(|look| wrong.starts_with(look)), "{fault:?}: {wrong}");
    }
}
