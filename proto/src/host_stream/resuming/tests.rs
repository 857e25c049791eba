use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use sha2::Digest as _;
use zeroize::Zeroizing;

use super::*;
use crate::activation::{Proven, Resumable};
use crate::framer::{Frame, Framer};
use crate::host_stream::session::Session;
use crate::host_stream::{Action, HostStreamConfig, Role};
use crate::hosted::Hosted;
use crate::limits::Limits;
use crate::mux::Mux;
use crate::name::Name;
use crate::pair::Pair;
use crate::pairs::{Active, Asleep, Pairs};
use crate::sent::SentCopies;
use crate::taken::Taken;
use crate::way::{Policies, Policy};

const HOSTS: [&str; 2] = ["a.isp", "b.isp"];

fn domain(host: usize, n: usize) -> Name {
    Name::parse(&format!("d{n}.{}", HOSTS[host])).unwrap()
}

/// One side's session with this many pairs, of domains of their own.
fn session(us: usize, pairs: usize) -> Box<Session> {
    let (mut records, mut mux, mut asleep) = (Pairs::default(), Mux::new(1 << 20, 1 << 26), Asleep::new());
    for n in 0..pairs {
        let slot = mux.add();
        records.add(slot, Pair { local: domain(us, n), remote: domain(1 - us, n) });
        let mut rid = [0; 16];
        rid.copy_from_slice(&sha2::Sha256::digest(n.to_be_bytes())[..16]);
        let resumable = Box::new(Resumable { secret: Zeroizing::new([7; 32]), id: rid, aid: rid });
        let active = Active::new(Proven { resumable, certificates_end: u64::MAX }, 0, u64::MAX, us == 0);
        asleep.insert(rid, (slot, active));
    }
    let (copies, taken) = (SentCopies::acknowledged(), Taken::default());
    let counts = super::super::session::Counts { serial: 1, id: Some("s".to_owned()), refuted: false, copies, taken };
    Box::new(Session { counts, pairs: records, mux, unproven: VecDeque::new(), asleep })
}

fn side(us: usize, pairs: usize, now: Now) -> HostStream {
    let name = |at: usize| Name::parse(HOSTS[at]).unwrap();
    let hosted: Hosted = (0..pairs).map(|n| (domain(us, n), 0)).collect();
    let config = HostStreamConfig {
        host: name(us),
        hosted: Arc::new(hosted),
        limits: Limits::default(),
        activation_lifetime: std::time::Duration::from_secs(3600),
        policies: Arc::new(Policies::new(Policy::Prefer, [])),
    };
    let role = if us == 0 { Role::Dialled { counts: true } } else { Role::Accepted };
    let exporter = crate::transcript::Exporter::new(&[7; 64]);
    HostStream::new(config, name(1 - us), exporter, None, role, Box::new(|bytes| bytes.fill(1)), now)
}

/// Both sides on a new link, with these sessions.
struct Two {
    sides: [(HostStream, Framer); 2],
    sessions: [Option<Box<Session>>; 2],
}

impl Two {
    fn new(pairs: usize, sessions: [Option<Box<Session>>; 2], now: Now) -> Self {
        const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>";
        let sides = [0, 1].map(|us| {
            let mut framer = Framer::new(crate::limits::CONTROL_BYTES);
            framer.push(BytesMut::from(HEADER));
            assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
            (side(us, pairs, now), framer)
        });
        Self { sides, sessions }
    }

    /// Both go on with their sessions; how many pairs each has active, and how many elements it took.
    fn resume(&mut self, now: Now) -> ([usize; 2], usize) {
        let (mut resumed, mut elements) = ([0, 0], 0);
        let mut out = Out::default();
        self.sides[0].0.choose(now, &mut out);
        self.sides[0].0.adopt(now, self.sessions[0].take(), &mut out);
        let mut from = 0;
        for _ in 0..10 {
            let mut bytes = BytesMut::new();
            self.sides[from].0.fill(now, &mut bytes, usize::MAX / 2);
            let (stream, framer) = &mut self.sides[1 - from];
            framer.push(bytes);
            while let Some(frame) = framer.next_frame().unwrap() {
                let Frame::Element(element) = &frame else { panic!("no element") };
                elements += usize::from(element.starts_with(b"<resume-pairs"));
                let mut out = Out::default();
                stream.frame(now, frame, &mut out);
                if !stream.takes_frames() {
                    stream.adopt(now, self.sessions[1].take(), &mut out);
                }
                let change = |action: &Action| matches!(action, Action::Changed(_, PairChange::Resumed { .. }));
                resumed[1 - from] += out.actions.iter().filter(|action| change(action)).count();
            }
            from = 1 - from;
        }
        assert!(self.sides.iter().all(|(stream, _)| stream.is_settled()), "and nobody waits for more");
        (resumed, elements)
    }
}

fn resume(pairs: usize) -> ([usize; 2], usize) {
    let (now, sessions) = (Now::origin(), [0, 1].map(|us| Some(session(us, pairs))));
    Two::new(pairs, sessions, now).resume(now)
}

/// An element that is not full ends the list: where the last one is full, an empty one does.
#[test]
fn a_list_ends_with_an_element_that_is_not_full() {
    for (pairs, elements) in [(0, 1), (1, 1), (999, 1), (1000, 2), (1001, 2), (2000, 3)] {
        assert_eq!(resume(pairs), ([pairs, pairs], elements), "{pairs}");
    }
}

/// A measurement: `cargo test --release -p heteronym-proto --lib resum -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, of 100,000 pairs"]
#[expect(clippy::print_stdout, reason = "it is what is looked for")]
fn how_long_a_hundred_thousand_pairs_take() {
    const PAIRS: usize = 100_000;
    let now = Now::origin();
    let mut first = Two::new(PAIRS, [0, 1].map(|us| Some(session(us, PAIRS))), now);
    assert_eq!(first.resume(now).0, [PAIRS, PAIRS]);
    let mut second = Two::new(PAIRS, [None, None], now);
    let begun = cpu_seconds();
    second.sessions = first.sides.each_mut().map(|(stream, _)| stream.detach());
    assert_eq!(second.resume(now).0, [PAIRS, PAIRS]);
    println!("{PAIRS} pairs, from the break to active again: {:.3} CPU-s for both hosts", cpu_seconds() - begun);
}

/// What this thread has used, as Linux counts it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = stat.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}
