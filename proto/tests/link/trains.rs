//! Stanzas that come in one message travel together, and each has its own fate all the same.

use std::time::Duration;

use heteronym_proto::batch::Batch;
use heteronym_proto::control::{Control, UndeliveredReason};
use heteronym_proto::mux::Slot;
use heteronym_proto::stanza_error::Condition;

use crate::bench::{MINE, Setup, message, pair};
use crate::peer::Scripted;
use crate::wire::Link;

const OURS: &str = "saramago.lit";
const THEIRS: &str = "pessoa.lit";

fn bodies(of: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    of.map(|body| body.to_string())
}

/// A link that is counted, on which our domain has sent five stanzas together that are lost: what was written.
fn five_lost() -> (Link, String) {
    let mut link = Link::counted();
    link.other.delivered.clear();
    link.mine.send_together(link.now, OURS, THEIRS, bodies(0..5));
    let written = link.lose(MINE);
    (link, written)
}

#[test]
fn the_first_of_a_train_arrive_and_the_others_are_sent_again() {
    let (mut link, written) = five_lost();
    let (third, _) = written.match_indices("<message").nth(2).expect("five messages");
    link.other.hear(link.now, &written[..third]);
    link.mine.send_together(link.now, OURS, THEIRS, bodies(5..8));
    link.cut(MINE);
    link.advance(Duration::from_secs(3));
    assert_eq!(link.other.bodies(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!((link.mine.again, link.mine.in_doubt), (3, 0));
    assert_eq!((link.mine.stream.unacknowledged(), link.mine.bounced.len()), (0, 0));
    assert_eq!(link.mine.stream.sent(), link.other.stream.received());
    link.expect_usable(OURS, THEIRS);
}

#[test]
fn of_a_train_whose_pair_moved_what_did_not_arrive_goes_where_it_is() {
    let (mut link, _) = five_lost();
    link.mine.act(link.now, |stream, out| stream.moved(&pair(OURS, THEIRS), out));
    link.mine.send_together(link.now, OURS, THEIRS, bodies(5..7));
    assert_eq!(link.mine.rerouted.len(), 2, "what came later goes at once");
    link.lose(MINE);
    link.cut(MINE);
    link.advance(Duration::from_secs(1));
    assert_eq!(link.mine.rerouted.len(), 7);
}

#[test]
fn a_stanza_of_a_train_comes_back_by_its_number() {
    let mut peer = Scripted::with(Setup::mine());
    peer.until_active(THEIRS, OURS, [9; 16]);
    peer.side.send_together(peer.now, OURS, THEIRS, bodies(1..6));
    assert_eq!(peer.heard().len(), 5);
    for (n, reason) in [
        (4, UndeliveredReason::PairNotActive),
        (3, UndeliveredReason::DomainUnavailable),
        (2, UndeliveredReason::PairNotActive),
        (4, UndeliveredReason::PairNotActive),
    ] {
        peer.say(&Control::Undelivered { n, reason });
    }
    assert_eq!(peer.side.bounced_bodies(), ["3"]);
    assert!(peer.side.refused.contains(&"undelivered-unknown"), "one was handed back twice");
    peer.side.send_together(peer.now, OURS, THEIRS, bodies(6..8));
    let request = peer.until_requested_again();
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    let heard = peer.heard();
    let again: Vec<_> = heard.iter().filter(|text| text.starts_with("<message")).collect();
    let is_right = |(text, body): (&&String, &str)| text.contains(&format!("<body>{body}<"));
    assert!(again.len() == 4 && again.iter().zip(["2", "4", "6", "7"]).all(is_right), "{again:?}");
}

#[test]
fn of_a_train_that_finds_no_room_the_first_wait() {
    let waiting = |together: bool| {
        let mut other = Setup::other();
        other.limits.pair_queue_bytes = 1000;
        let mut link = Link::with(Setup::mine(), other);
        link.other.frozen = true;
        if together {
            link.other.send_together(link.now, THEIRS, OURS, bodies(0..10));
        } else {
            bodies(0..10).for_each(|body| link.other.send(link.now, THEIRS, OURS, &body));
        }
        let bounced: Vec<String> = link.other.bounced_bodies().into_iter().map(str::to_owned).collect();
        assert!(link.other.conditions().iter().all(|condition| *condition == Condition::ResourceConstraint));
        let queued = link.other.stream.queued_bytes();
        link.other.thaw(link.now);
        link.run();
        (bounced, queued, link.mine.bodies().into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let together = waiting(true);
    assert_eq!(together, waiting(false), "as many as where each comes by itself");
    assert_eq!([together.0.len() + together.2.len(), together.0.len().min(1), together.2.len().min(1)], [10, 1, 1]);
}

#[test]
fn stanzas_of_many_pairs_in_one_message_keep_their_order() {
    let mut link = Link::active();
    link.activate("sophia.lit", "camoes.lit");
    let pairs = [(OURS, THEIRS), ("camoes.lit", "sophia.lit"), (OURS, "sophia.lit")];
    link.other.delivered.clear();
    link.mine.act(link.now, |stream, out| {
        let slots = pairs.map(|(local, remote)| (stream.slot(&pair(local, remote)), local, remote));
        let of = |n: usize| (slots[n % 3].0, message(slots[n % 3].1, slots[n % 3].2, &n.to_string()));
        let stanzas: Batch<Slot> = (0..60).map(of).collect();
        stream.send_batch(link.now, stanzas, out);
    });
    link.run();
    for at in 0..3 {
        let of_pair = (0..60).filter(|n| n % 3 == at).map(|n: usize| n.to_string());
        let delivered = link.other.bodies().into_iter().filter(|body| body.parse::<usize>().is_ok_and(|n| n % 3 == at));
        assert!(delivered.eq(of_pair), "also where the pair was not active");
    }
    assert_eq!(link.other.delivered.len(), 60);
    let record = link.mine.record(OURS, THEIRS);
    assert_eq!(record.stanzas_out, 20, "each is counted");
}

/// Of a message for pairs that are all active, what did not arrive is sent again, and what comes back finds its pair.
#[test]
fn a_message_of_many_active_pairs_is_counted_stanza_by_stanza() {
    let mut link = Link::counted();
    link.activate("sophia.lit", "camoes.lit");
    let pairs = [(OURS, THEIRS), ("camoes.lit", "sophia.lit")];
    link.other.delivered.clear();
    link.mine.act(link.now, |stream, out| {
        let slots = pairs.map(|(local, remote)| (stream.slot(&pair(local, remote)), local, remote));
        let of = |n: usize| (slots[n % 2].0, message(slots[n % 2].1, slots[n % 2].2, &n.to_string()));
        stream.send_batch(link.now, (0..6).map(of).collect(), out);
    });
    let written = link.lose(MINE);
    let (third, _) = written.match_indices("<message").nth(2).expect("six messages");
    link.other.hear(link.now, &written[..third]);
    link.cut(MINE);
    link.advance(Duration::from_secs(3));
    assert_eq!(link.other.bodies().len(), 6);
    for at in 0..2 {
        let of_pair = (0..6).filter(|n| n % 2 == at).map(|n: usize| n.to_string());
        let delivered = link.other.bodies().into_iter().filter(|body| body.parse::<usize>().is_ok_and(|n| n % 2 == at));
        assert!(delivered.eq(of_pair));
    }
    assert_eq!((link.mine.again, link.mine.in_doubt, link.mine.stream.unacknowledged()), (4, 0, 0));
    assert_eq!(
        [link.mine.record(OURS, THEIRS).stanzas_out, link.mine.record("camoes.lit", "sophia.lit").stanzas_out],
        [5, 5]
    );
}
