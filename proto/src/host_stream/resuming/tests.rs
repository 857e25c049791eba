use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use zeroize::Zeroizing;

use super::*;
use crate::activation::Proven;
use crate::framer::{Frame, Framer};
use crate::host_stream::session::Session;
use crate::host_stream::{Action, HostStreamConfig, Role};
use crate::hosted::Hosted;
use crate::limits::Limits;
use crate::mux::Mux;
use crate::name::Name;
use crate::pair::Pair;
use crate::pairs::{Active, Pairs};
use crate::sent::SentCopies;
use crate::taken::Taken;
use crate::way::{Policies, Policy};

const HOSTS: [&str; 2] = ["a.isp", "b.isp"];

fn domain(host: usize, n: usize) -> Name {
    Name::parse(&format!("d{n}.{}", HOSTS[host])).unwrap()
}

/// One side's session with this many pairs, of domains of their own.
fn session(us: usize, pairs: usize) -> Box<Session> {
    let (mut records, mut mux, mut asleep) =
        (Pairs::default(), Mux::new(1 << 20, 1 << 26), super::super::session::Asleep::new());
    for n in 0..pairs {
        let slot = mux.add();
        records.add(slot, Pair { local: domain(us, n), remote: domain(1 - us, n) });
        let mut rid = [0; 16];
        rid[..8].copy_from_slice(&n.to_be_bytes());
        let proven = Proven { resume_secret: Zeroizing::new([7; 32]), resume_id: rid, certificates_end: u64::MAX };
        let active = Active { aid: rid, since: 0, expires: u64::MAX, initiated: us == 0, proven: Box::new(proven) };
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

/// Both sides go on with a session of so many pairs; how many each has active, and how many elements it took.
fn resume(pairs: usize) -> ([usize; 2], usize) {
    const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>";
    let now = Now::origin();
    let mut sides = [0, 1].map(|us| (side(us, pairs, now), Framer::new(crate::limits::CONTROL_BYTES)));
    let (mut resumed, mut elements) = ([0, 0], 0);
    let mut out = Out::default();
    for (at, (stream, framer)) in sides.iter_mut().enumerate() {
        framer.push(BytesMut::from(HEADER));
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        if at == 0 {
            stream.choose(now, &mut out);
            stream.adopt(now, Some(session(0, pairs)), &mut out);
        }
    }
    let mut from = 0;
    for _ in 0..10 {
        let mut bytes = BytesMut::new();
        sides[from].0.fill(now, &mut bytes, usize::MAX / 2);
        let (stream, framer) = &mut sides[1 - from];
        framer.push(bytes);
        while let Some(frame) = framer.next_frame().unwrap() {
            let Frame::Element(element) = &frame else { panic!("no element") };
            elements += usize::from(element.starts_with(b"<resume-pairs"));
            let mut out = Out::default();
            stream.frame(now, frame, &mut out);
            if !stream.takes_frames() {
                stream.adopt(now, Some(session(1, pairs)), &mut out);
            }
            let change = |action: &Action| matches!(action, Action::Changed(_, PairChange::Resumed { .. }));
            resumed[1 - from] += out.actions.iter().filter(|action| change(action)).count();
        }
        from = 1 - from;
    }
    assert!(sides.iter().all(|(stream, _)| stream.is_settled()), "and nobody waits for more");
    (resumed, elements)
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
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "the time is what is looked for")]
fn how_long_a_hundred_thousand_pairs_take() {
    let built = Instant::now();
    drop([session(0, 100_000), session(1, 100_000)]);
    let (built, begun) = (built.elapsed(), Instant::now());
    assert_eq!(resume(100_000).0, [100_000, 100_000]);
    println!("100,000 pairs on both sides: {:?}, of which {built:?} to make them up", begun.elapsed());
}
