use super::*;
use crate::now::Now;

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
    mux.fill(&mut out, 3, |_, parcel| written.push(parcel));
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
