use std::time::Duration;

use super::*;
use crate::now::Now;
use crate::train::train;

fn mux(pairs: u32) -> Mux {
    let mut mux = Mux::new(1 << 20, 8 << 20);
    for _ in 0..pairs {
        let slot = mux.add();
        mux.open(slot);
    }
    mux
}

fn fill(mux: &mut Mux, room: usize) -> String {
    let mut out = BytesMut::new();
    mux.fill(&mut out, room, |_, _| ());
    String::from_utf8(out.to_vec()).unwrap()
}

fn push(mux: &mut Mux, slot: Slot, text: &str) -> Result<(), QueueFull<()>> {
    mux.push(slot, Bytes::copy_from_slice(text.as_bytes()), (), Now::origin().instant)
}

#[test]
fn a_flood_of_one_pair_does_not_hold_up_another() {
    let mut mux = mux(2);
    for _ in 0..1000 {
        push(&mut mux, 0, &"a".repeat(100)).unwrap();
    }
    push(&mut mux, 1, "b").unwrap();
    let first = fill(&mut mux, 2 * QUANTUM);
    assert!(first.contains('b'), "the other pair's turn comes after one quantum");
    assert_eq!(first.find('b'), Some(QUANTUM.div_ceil(100) * 100));
}

/// What a train has beyond its pair's turn is taken off the next one.
#[test]
fn stanzas_that_came_together_do_not_get_a_larger_share() {
    let (now, mut mux) = (Now::origin().instant, mux(2));
    let together = train(&["a".repeat(100).as_str(); 75]);
    for _ in 0..80 {
        mux.push_train(0, together.clone(), (), now).unwrap();
    }
    for _ in 0..6000 {
        push(&mut mux, 1, &"b".repeat(100)).unwrap();
    }
    let written = fill(&mut mux, 400 << 10);
    let alone = written.bytes().filter(|byte| *byte == b'b').count();
    assert!(alone.abs_diff(written.len() / 2) <= QUANTUM + together.length(), "{alone} of {}", written.len());
    assert_eq!(written.find('b'), Some(3 * together.length()), "a turn, and what is left of a train");
}

#[test]
fn stanzas_that_came_together_go_out_together_and_are_counted_each() {
    let (now, mut mux) = (Now::origin().instant, mux(1));
    push(&mut mux, 0, "1").unwrap();
    mux.push_train(0, train(&["2", "3", "4"]), (), now).unwrap();
    push(&mut mux, 0, "5").unwrap();
    assert_eq!((mux.pair_count(0), mux.bytes(), mux.pair_bytes(0)), (5, 5 * 65, 5 * 65));
    let (mut out, mut seqs) = (BytesMut::new(), Vec::new());
    mux.fill(&mut out, 2, |_, parcels| seqs.push((parcels.seq, parcels.train.count())));
    assert_eq!((&out[..], &seqs[..], mux.pair_count(0)), (&b"1234"[..], &[(0, 1), (1, 3)][..], 1));
    assert_eq!(mux.take(0).into_iter().map(|parcel| (parcel.bytes, parcel.seq)).collect::<Vec<_>>(), [("5".into(), 4)]);
}

#[test]
fn stanzas_that_came_together_are_taken_one_by_one() {
    let (now, mut mux) = (Now::origin().instant, Mux::new(1000, 1000));
    let (slot, wait) = (mux.add(), Duration::from_secs(1));
    mux.push_train(slot, train(&["1", "2"]), 'o', now).unwrap();
    mux.push_train(slot, train(&["3", "4"]), 'p', now + wait).unwrap();
    let plain = |parcel: Parcel<char>| (parcel.bytes, parcel.origin, parcel.seq, parcel.since);
    let overdue: Vec<_> = mux.take_overdue(slot, now + wait, wait).into_iter().map(plain).collect();
    assert_eq!(overdue, [("1".into(), 'o', 0, now), ("2".into(), 'o', 1, now)]);
    let rest: Vec<_> = mux.take(slot).into_iter().map(plain).collect();
    assert_eq!(rest, [("3".into(), 'p', 2, now + wait), ("4".into(), 'p', 3, now + wait)]);
    assert_eq!((mux.bytes(), mux.pair_bytes(slot), mux.pair_count(slot)), (0, 0, 0));
}

#[test]
fn a_stanza_of_a_train_that_came_back_goes_where_it_was() {
    let (now, mut mux) = (Now::origin().instant, mux(1));
    for stanzas in [["1", "2"], ["3", "4"], ["5", "6"]] {
        mux.push_train(0, train(&stanzas), (), now).unwrap();
    }
    let (mut out, mut written) = (BytesMut::new(), Vec::new());
    mux.fill(&mut out, 3, |_, parcels| written.extend(parcels.each()));
    assert_eq!(&out[..], b"1234");
    for at in [3, 0, 2] {
        let Parcel { bytes, seq, .. } = written[at].clone();
        mux.push_again(0, Again { bytes, seq, retried: true }, (), now);
    }
    assert_eq!(mux.pair_count(0), 5);
    assert_eq!(fill(&mut mux, 100), "13456");
}

#[test]
fn where_not_all_of_a_train_finds_room_none_of_it_is_queued() {
    let (now, mut mux) = (Now::origin().instant, Mux::new(3 * 65, 4 * 65));
    let slots = [mux.add(), mux.add()];
    let (three, four) = (train(&["1", "2", "3"]), train(&["1", "2", "3", "4"]));
    assert_eq!(mux.push_train(slots[0], four.clone(), (), now), Err(four));
    assert_eq!(mux.bytes(), 0);
    mux.push_train(slots[0], three.clone(), (), now).unwrap();
    assert_eq!(mux.push_train(slots[1], three.clone(), (), now), Err(three), "the bound of all");
    push(&mut mux, slots[1], "1").unwrap();
    assert!(push(&mut mux, slots[1], "2").is_err());
}

#[test]
fn large_stanzas_do_not_get_a_larger_share() {
    let mut mux = mux(2);
    for _ in 0..8 {
        push(&mut mux, 0, &"a".repeat(100 << 10)).unwrap();
    }
    for _ in 0..5000 {
        push(&mut mux, 1, &"b".repeat(100)).unwrap();
    }
    let written = fill(&mut mux, 400 << 10);
    let small = written.bytes().filter(|byte| *byte == b'b').count();
    assert!(small > 150 << 10, "{small} of {}", written.len());
    assert_eq!(fill(&mut mux, 8 << 20).len() + written.len(), 8 * (100 << 10) + 500_000, "and none is lost");
}

#[test]
fn a_queue_that_was_opened_again_stays_open() {
    let mut mux = mux(1);
    push(&mut mux, 0, "1").unwrap();
    mux.control_behind(0, Bytes::from_static(b"<deactivate/>"));
    mux.open(0);
    assert_eq!(fill(&mut mux, 100), "<deactivate/>1");
    push(&mut mux, 0, "2").unwrap();
    assert_eq!(fill(&mut mux, 100), "2");
}

#[test]
fn a_turn_goes_on_where_the_room_ended() {
    let mut mux = mux(2);
    for slot in [0, 1] {
        for _ in 0..4 {
            push(&mut mux, slot, if slot == 0 { "a" } else { "b" }).unwrap();
        }
    }
    assert_eq!(fill(&mut mux, 2) + &fill(&mut mux, 100), "aaaabbbb", "order within a pair, one turn each");
}

#[test]
fn control_elements_go_first_and_a_last_one_last() {
    let mut mux = mux(1);
    push(&mut mux, 0, "1").unwrap();
    mux.control_behind(0, Bytes::from_static(b"<deactivate/>"));
    mux.control(Bytes::from_static(b"<active/>"));
    assert_eq!(fill(&mut mux, 100), "<active/>1<deactivate/>");
    push(&mut mux, 0, "2").unwrap();
    assert_eq!(fill(&mut mux, 100), "", "closed behind its last element");
}

#[test]
fn a_closed_queue_waits_and_a_full_one_refuses() {
    let mut mux = Mux::new(200, 8 << 20);
    let slot = mux.add();
    push(&mut mux, slot, "waiting").unwrap();
    assert!(!mux.is_ready());
    let refused = push(&mut mux, slot, &"x".repeat(200)).unwrap_err();
    assert_eq!(refused.0.bytes, "x".repeat(200));
    mux.open(slot);
    assert_eq!(fill(&mut mux, 100), "waiting");
    assert_eq!((mux.bytes(), mux.pair_bytes(slot)), (0, 0));
}

#[test]
fn what_came_back_goes_where_it_was() {
    let mut mux = mux(1);
    for text in ["1", "2", "3", "4"] {
        push(&mut mux, 0, text).unwrap();
    }
    let mut out = BytesMut::new();
    let mut written = Vec::new();
    mux.fill(&mut out, 3, |_, parcels| written.extend(parcels.each()));
    assert_eq!(written.len(), 3);
    // Whichever of them is told of first.
    for at in [2, 0, 1] {
        let Parcel { bytes, seq, .. } = written[at].clone();
        mux.push_again(0, Again { bytes, seq, retried: at == 0 }, (), Now::origin().instant);
    }
    let unwritten: Vec<_> = mux.take_unwritten(0).into_iter().map(|parcel| parcel.bytes).collect();
    assert_eq!(unwritten, ["4"]);
    assert_eq!(fill(&mut mux, 100), "123");
    assert_eq!((mux.bytes(), mux.pair_bytes(0)), (0, 0));
}

#[test]
fn behind_a_gate_only_control_elements_go_out() {
    let mut mux = mux(1);
    push(&mut mux, 0, "1").unwrap();
    mux.gate(true);
    assert!(!mux.is_ready());
    mux.control(Bytes::from_static(b"<r/>"));
    assert_eq!(fill(&mut mux, 100), "<r/>");
    mux.gate(false);
    assert_eq!(fill(&mut mux, 100), "1");
}

#[test]
fn another_stream_begins_with_what_waits_and_no_pair_may_send() {
    let mut mux = mux(2);
    push(&mut mux, 0, "1").unwrap();
    push(&mut mux, 1, "2").unwrap();
    mux.control_behind(1, Bytes::from_static(b"<deactivate/>"));
    mux.control(Bytes::from_static(b"<r/>"));
    mux.end(Bytes::from_static(b"</stream>"), false);
    mux.restart();
    assert_eq!((fill(&mut mux, 100), mux.is_ready()), (String::new(), false));
    (0..2).for_each(|slot| mux.open(slot));
    assert_eq!(fill(&mut mux, 100), "12");
}
