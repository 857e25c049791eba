//! What can be measured, a file each.

use std::time::Duration;

use crate::Failure;
use crate::admin::Admin;
use crate::cost::Meter;
use crate::drive::Load;
use crate::ground::{Ground, Plan};
use crate::progress::Bar;
use crate::subject::Subject;
use crate::subjects::heteronym::{Heteronym, Routers};

pub mod activate;
pub mod idle;
pub mod latency;
pub mod load;
pub mod memory;
pub mod resume;
pub mod start;

/// Bytes of a stanza where it does not matter.
const BYTES: usize = 200;
/// How long a router may take to count what has happened.
const PATIENCE: Duration = Duration::from_secs(10);

/// The limits that subjects have raised for it.
fn raised(subjects: &[Box<dyn Subject>]) -> Vec<(String, String)> {
    subjects.iter().flat_map(|subject| subject.raised()).collect()
}

/// The pairs of two routers, of which one is active at first. What is above ends before what is below it.
struct ActivePairs {
    load: Load,
    admin: [Admin; 2],
    meter: Meter,
    _routers: Routers,
    ground: Ground,
}

impl ActivePairs {
    /// Starts both routers, attaches to them for `count` pairs, and makes the first of them active: the link is up.
    fn of(subject: &Heteronym, plan: &Plan, count: usize) -> Result<Self, Failure> {
        let ground = Ground::prepare(plan)?;
        let routers = subject.routers(&ground)?;
        let mut load = Load::attach(&routers.running, &ground, count, BYTES)?;
        load.send_over(&[0], 1, &Bar::hidden())?;
        let meter = Meter::new(&routers.running.processes);
        Ok(Self { load, admin: routers.admin.map(Admin::new), meter, _routers: routers, ground })
    }

    /// A stanza over each: all are active then, on both sides, which the routers are asked. How long the stanzas took.
    fn activate(&mut self) -> Result<Duration, Failure> {
        let pairs = self.load.pairs();
        let bar = Bar::new("a stanza over each pair", pairs as u64, "pairs");
        let time = self.load.activate(load::ACTIVATED_AT_ONCE, &bar)?.time;
        for admin in &self.admin {
            admin.wait_for("heteronym_pairs", &["state=\"active\"", "via=\"federation\""], pairs as f64, PATIENCE)?;
        }
        Ok(time)
    }
}
