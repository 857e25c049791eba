//! Links break: what had not arrived is sent again, what had is not, and pairs are active at once (protocol §6
//! and §8).

use std::time::Duration;

use heteronym_proto::control::{Control, UndeliveredReason};
use heteronym_proto::host_stream::{PairChange, Role};
use heteronym_proto::limits::Limits;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};

use crate::bench::{MINE, OTHER, Setup, Side, later, pair, policies, start, xml};
use crate::wire::Link;

const OURS: &str = "saramago.lit";
const THEIRS: &str = "pessoa.lit";
const SECOND: Duration = Duration::from_secs(1);

/// Sends these together from our domain to theirs.
fn send(link: &mut Link, bodies: std::ops::Range<usize>) {
    link.mine.send_together(link.now, OURS, THEIRS, bodies.map(|body| body.to_string()));
}

fn resumed(side: &Side) -> usize {
    side.changes.iter().filter(|(_, change)| matches!(change, PairChange::Resumed { .. })).count()
}

#[test]
fn what_did_not_arrive_is_sent_again_and_what_did_is_not() {
    for dialler in [MINE, OTHER] {
        let mut link = Link::counted();
        link.other.delivered.clear();
        send(&mut link, 0..3);
        link.carry(MINE);
        send(&mut link, 3..6);
        link.lose(MINE);
        send(&mut link, 6..8);
        link.cut(dialler);
        assert_eq!(link.other.bodies(), ["0", "1", "2", "3", "4", "5", "6", "7"], "{dialler}");
        assert_eq!((link.mine.again, link.mine.in_doubt), (3, 0), "those that were written and lost");
        link.advance(3 * SECOND);
        assert_eq!(link.mine.stream.unacknowledged(), 0);
        assert_eq!(link.mine.stream.sent(), link.other.stream.received());
        link.expect_usable(OURS, THEIRS);
    }
}

#[test]
fn pairs_are_resumed_with_no_run_whoever_had_asked_and_whoever_dials() {
    for dialler in [MINE, OTHER] {
        let mut link = Link::counted();
        link.activate(THEIRS, "camoes.lit");
        link.mine.send(link.now, OURS, "sophia.lit", "one of our asking");
        link.run();
        let expires = link.mine.record(OURS, THEIRS).active.as_ref().map(|active| active.expires);
        (link.mine.operations, link.other.operations) = (Vec::new(), Vec::new());
        link.advance(60 * SECOND);
        link.cut(dialler);
        assert_eq!((resumed(&link.mine), resumed(&link.other)), (3, 3));
        assert_eq!((link.mine.operations.len(), link.other.operations.len()), (0, 0));
        assert_eq!(link.count("request"), 0);
        let after = link.mine.record(OURS, THEIRS).active.as_ref().map(|active| active.expires);
        assert_eq!(after, expires, "a life is not extended");
        assert!(link.mine.is_routed(OURS, THEIRS) && link.other.is_routed(THEIRS, OURS));
        link.expect_usable(OURS, "sophia.lit");
    }
}

#[test]
fn links_may_break_again_and_again() {
    let mut link = Link::counted();
    link.other.delivered.clear();
    for n in 0..20 {
        send(&mut link, 4 * n..4 * n + 2);
        if n % 3 == 0 {
            link.carry(MINE);
        }
        send(&mut link, 4 * n + 2..4 * n + 4);
        link.lose(MINE);
        link.lose(OTHER);
        link.break_off(if n % 2 == 0 { MINE } else { OTHER });
        link.choose();
        // This one breaks as well, somewhere on its way.
        for at in 0..n % 7 {
            link.carry(if at % 2 == 0 { MINE } else { OTHER });
        }
        link.cut(if n % 4 == 0 { MINE } else { OTHER });
    }
    let expected: Vec<String> = (0..80).map(|n| n.to_string()).collect();
    assert_eq!(link.other.bodies(), expected);
    assert_eq!((link.mine.in_doubt, link.other.in_doubt), (0, 0));
}

#[test]
fn the_order_on_a_new_link_is_session_pairs_again_new() {
    let mut link = Link::counted();
    send(&mut link, 0..1);
    link.lose(MINE);
    send(&mut link, 1..2);
    link.break_off(MINE);
    link.choose();
    link.run();
    let words = ["chosen", "resume", "resume-pairs", "message", "message"];
    assert_eq!(link.sent_by(MINE), words, "{:?}", link.wire);
    assert_eq!(link.sent_by(OTHER), ["resumed", "resumed-pairs"]);
}

#[test]
fn a_report_that_was_lost_with_the_link_is_made_again() {
    let mut link = Link::counted();
    send(&mut link, 0..1);
    link.run();
    link.other.hand_back(link.now, UndeliveredReason::DomainUnavailable);
    assert!(link.lose(OTHER).contains("<undelivered"));
    link.cut(MINE);
    assert_eq!(link.mine.conditions(), [Condition::RemoteServerTimeout]);
    link.advance(3 * SECOND);
    link.cut(MINE);
    assert_eq!(link.count("undelivered"), 0, "the ping shows that it was read");
    assert_eq!(link.mine.conditions().len(), 1);
}

#[test]
fn a_stanza_that_is_ours_is_answered_and_not_reported() {
    let mut link = Link::counted();
    send(&mut link, 0..1);
    link.run();
    link.advance(3 * SECOND);
    assert_eq!(link.mine.stream.unacknowledged(), 0, "taken over, although no server has read it");
    link.other.hand_back(link.now, UndeliveredReason::DomainUnavailable);
    link.run();
    assert_eq!(link.count("undelivered"), 0);
    let reply = link.other.replies.pop().expect("an error for the sender");
    assert!(reply.contains("type='error'") && reply.contains("to='u@saramago.lit/r'"), "{reply}");
}

#[test]
fn what_a_server_has_read_is_acknowledged_when_asked() {
    let mut link = Link::counted();
    send(&mut link, 0..2);
    link.run();
    link.other.has_read(link.now);
    link.advance(SECOND / 2 + SECOND / 10);
    assert_eq!(link.mine.stream.unacknowledged(), 0);
    let held = {
        send(&mut link, 2..4);
        link.run();
        link.advance(SECOND / 2 + SECOND / 10);
        link.mine.stream.unacknowledged()
    };
    assert_eq!(held, 2, "nobody has read these");
    link.other.has_read(link.now);
    link.run();
    assert_eq!(link.mine.stream.unacknowledged(), 0, "news comes unasked");
}

#[test]
fn a_peer_that_lost_the_session_gets_what_is_in_doubt_once_more() {
    for dialler in [MINE, OTHER] {
        let mut link = Link::counted();
        link.other.delivered.clear();
        send(&mut link, 0..2);
        link.run();
        send(&mut link, 2..4);
        link.lose(MINE);
        link.break_off(dialler);
        link.other.session = None;
        link.choose();
        link.run();
        assert_eq!(link.mine.in_doubt, 4);
        assert_eq!(link.other.bodies(), ["0", "1", "0", "1", "2", "3"], "{dialler}: nobody knows what arrived");
        assert_eq!(resumed(&link.mine) + resumed(&link.other), 0, "and the pairs are proved afresh");
        link.expect_usable(OURS, THEIRS);
        link.cut(dialler);
        assert_eq!(link.mine.in_doubt, 4, "the next session is one");
        link.expect_usable(OURS, THEIRS);
    }
}

#[test]
fn a_pair_is_not_resumed_that_has_ended_meanwhile() {
    let mut link = Link::counted();
    link.lose(MINE);
    link.break_off(MINE);
    // Both forget: the end of its life comes while there is no link.
    link.now = later(link.now, Duration::from_secs(13 * 3600));
    link.choose();
    link.run();
    assert_eq!(resumed(&link.mine) + resumed(&link.other), 0);
    assert_eq!(link.count("resumed-pairs"), 1, "the list is empty");
    link.expect_usable(OURS, THEIRS);
}

#[test]
fn a_pair_is_not_resumed_that_one_side_does_not_allow_any_more() {
    let mut link = Link::counted();
    link.break_off(MINE);
    let mut config = link.other.config().clone();
    config.policies = policies(&[OURS]);
    let now = link.now;
    link.other.act(now, |stream, out| stream.reconfigure(now, config, out));
    link.choose();
    link.run();
    assert_eq!(resumed(&link.mine) + resumed(&link.other), 0);
    assert!(!link.mine.is_active(OURS, THEIRS));
    send(&mut link, 0..1);
    link.run();
    assert_eq!(link.mine.conditions(), [Condition::NotAllowed]);
}

#[test]
fn a_session_that_was_told_to_forget_a_pair_does_not_resume_it() {
    let mut link = Link::counted();
    link.break_off(OTHER);
    link.mine.session.as_mut().expect("a session").forget(&pair(OURS, THEIRS));
    link.choose();
    link.run();
    assert_eq!(resumed(&link.mine) + resumed(&link.other), 0);
    link.expect_usable(OURS, THEIRS);
}

/// Whoever was given another pair's secret, another channel's tag, or none, resumes nothing.
#[test]
fn a_claim_that_proves_nothing_is_refused() {
    let mut link = Link::counted();
    link.break_off(MINE);
    link.tamper = Some(Box::new(|_, text| {
        let (head, rest) = text.split_once("id='r1'>")?;
        let (list, _) = rest.split_once('<')?;
        let (name, middle) = (head.trim_start_matches('<').split(' ').next()?, list.len() / 2);
        // The middle of an entry is where its tag begins, or a byte of the only tag.
        let flipped = if list.as_bytes()[middle] == b'A' { "B" } else { "A" };
        Some(vec![format!("{head}id='r1'>{}{flipped}{}</{name}>", &list[..middle], &list[middle + 1..])])
    }));
    link.choose();
    link.run();
    assert_eq!(resumed(&link.mine), 0);
    assert!(!link.mine.is_active(OURS, THEIRS));
    link.tamper = None;
    link.expect_usable(OURS, THEIRS);
}

#[test]
fn a_silent_peer_is_given_up_and_a_slow_one_is_not() {
    let mut link = Link::counted();
    link.advance(Duration::from_secs(600));
    assert!(!link.mine.dead && !link.other.dead, "they ask each other");
    let silent_since = link.now.instant;
    while !link.mine.dead {
        let next = link.mine.stream.deadline().expect("it looks");
        assert!(next < silent_since + Duration::from_secs(15), "too late");
        link.now = later(link.now, next - link.now.instant);
        link.mine.timeout(link.now);
        link.lose(MINE);
    }
    link.cut(MINE);
    link.expect_usable(OURS, THEIRS);
}

/// A process that was stopped itself has heard nobody.
#[test]
fn who_overslept_looks_again_before_it_gives_anybody_up() {
    let mut link = Link::counted();
    link.advance(60 * SECOND);
    link.now = later(link.now, Duration::from_secs(60));
    link.mine.timeout(link.now);
    link.mine.timeout(later(link.now, SECOND));
    assert!(!link.mine.dead);
    link.run();
    link.advance(60 * SECOND);
    assert!(!link.mine.dead && !link.other.dead);
}

#[test]
fn no_more_is_sent_than_may_be_unacknowledged() {
    let limits = Limits { host_queue_bytes: 64 << 10, ..Limits::default() };
    let mine = Setup { role: Role::Dialled { counts: true }, limits, ..Setup::mine() };
    let mut link = Link::with(mine, Setup::other());
    link.activate(THEIRS, OURS);
    let body = "x".repeat(8 << 10);
    (0..6).for_each(|_| link.mine.send(link.now, OURS, THEIRS, &body));
    let first = link.lose(MINE).len();
    assert!(link.lose(MINE).is_empty() && !link.mine.stream.has_work());
    assert!((48 << 10..56 << 10).contains(&first), "one batch goes beyond: {first}");
    (0..6).for_each(|_| link.mine.send(link.now, OURS, THEIRS, &body));
    assert!(link.lose(MINE).is_empty(), "the rest waits");
    link.cut(MINE);
    link.advance(5 * SECOND);
    assert_eq!(link.other.bodies().len() + link.mine.bounced.len(), 12);
    assert_eq!(link.mine.stream.unacknowledged(), 0);
}

#[test]
fn a_peer_that_does_not_count_is_served_as_one() {
    let mut link = Link::active();
    send(&mut link, 0..1);
    link.run();
    link.advance(60 * SECOND);
    for word in ["enable", "enabled", "r", "a"] {
        assert_eq!(link.count(word), 0, "{word}");
    }
    link.lose(MINE);
    link.mine.reconnect(link.now, Role::Dialled { counts: false }, [1; 64]);
    assert!(link.mine.session.is_none());
}

/// What our side, dialled by a peer, says to these.
fn answered(elements: &[&str]) -> (String, Option<StreamError>) {
    let now = start();
    let mut side = Side::new(Setup { role: Role::Accepted, ..Setup::mine() }, OTHER, now);
    side.act(now, |stream, out| stream.choose(now, out));
    side.says();
    elements.iter().for_each(|element| side.hear(now, element));
    (side.says(), side.closed.flatten())
}

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";

#[test]
fn misbehaviour_is_answered_as_the_xep_says() {
    let resume = "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>";
    let (said, closed) = answered(&[resume]);
    assert!(said.contains("<failed") && said.contains("<item-not-found"), "{said}");
    assert_eq!(closed, None);
    let (said, _) = answered(&[resume, ENABLE]);
    assert!(said.contains("<enabled"), "a session may begin after all: {said}");
    for second in [ENABLE, resume] {
        let (said, closed) = answered(&[ENABLE, second]);
        assert!(said.contains("<unexpected-request"), "{said}");
        assert_eq!(closed, None);
    }
    let (said, closed) = answered(&[ENABLE, "<a xmlns='urn:xmpp:sm:3' h='1'/>"]);
    assert_eq!(closed.and_then(|error| error.too_high).map(|found| (found.h, found.sent)), Some((1, 0)), "{said}");
    let (_, closed) = answered(&[ENABLE, "<a xmlns='urn:xmpp:sm:3' h='x'/>"]);
    assert_eq!(closed.map(|error| error.condition), Some(StreamCondition::UndefinedCondition));
    for early in ["<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='0'/>"] {
        let (_, closed) = answered(&[early]);
        assert_eq!(closed.map(|error| error.condition), Some(StreamCondition::PolicyViolation));
    }
    let unasked = "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='0'/>";
    let (_, closed) = answered(&[ENABLE, unasked]);
    assert_eq!(closed.map(|error| error.condition), Some(StreamCondition::PolicyViolation));
}

#[test]
fn a_resumption_with_a_count_that_never_was_ends_the_link_and_not_the_session() {
    let mut link = Link::counted();
    send(&mut link, 0..1);
    link.lose(MINE);
    link.break_off(MINE);
    link.tamper = Some(Box::new(|_, text| {
        let at = text.find(" h='").filter(|_| text.starts_with("<resumed "))?;
        Some(vec![format!("{} h='77'/>", &text[..at])])
    }));
    link.choose();
    link.run();
    let error = link.mine.closed.clone().flatten().expect("an end");
    assert_eq!(error.too_high.map(|found| found.h), Some(77));
    link.tamper = None;
    link.other.delivered.clear();
    link.cut(MINE);
    assert_eq!(link.other.bodies(), ["0"]);
}

#[test]
fn a_stream_that_ends_in_order_leaves_nothing_in_doubt() {
    let mut link = Link::counted();
    link.other.delivered.clear();
    send(&mut link, 0..2);
    link.run();
    // Ours crosses the peer's end on its way.
    send(&mut link, 2..4);
    let crossing = link.lose(MINE);
    link.other.act(link.now, |stream, out| stream.close(None, out));
    link.carry(OTHER);
    assert_eq!(link.mine.closed, Some(None));
    assert_eq!(link.mine.stream.unacknowledged(), 2, "what was taken is acknowledged first");
    link.other.hear(link.now, &crossing);
    assert_eq!(link.other.bodies(), ["0", "1"], "behind its end a side takes nothing");
    link.cut(OTHER);
    assert_eq!(link.other.bodies(), ["0", "1", "2", "3"]);
}

#[test]
fn a_session_that_nobody_comes_for_gives_its_stanzas_back() {
    let mut link = Link::counted();
    send(&mut link, 0..2);
    link.lose(MINE);
    link.break_off(MINE);
    let session = link.mine.session.take().expect("a session");
    assert_eq!((session.unacknowledged(), session.resumable_pairs()), (2, 1));
    let back = session.give_up();
    assert!(back.len() == 2 && back[0].windows(8).any(|at| at == b"<body>0<"), "{back:?}");
}

#[test]
fn a_stanza_of_a_lost_session_is_answered_by_us() {
    let mut link = Link::counted();
    send(&mut link, 0..1);
    link.run();
    link.break_off(OTHER);
    link.mine.session = None;
    link.choose();
    link.run();
    link.other.hand_back(link.now, UndeliveredReason::DomainUnavailable);
    link.run();
    assert_eq!((link.count("undelivered"), link.other.replies.len()), (0, 1));
}

#[test]
fn nobody_waits_for_a_list_that_does_not_come() {
    let mut link = Link::counted();
    link.break_off(MINE);
    link.tamper = Some(Box::new(|_, text| text.starts_with("<resume-pairs").then(Vec::new)));
    link.choose();
    link.run();
    send(&mut link, 0..1);
    link.run();
    assert!(!link.mine.is_active(OURS, THEIRS));
    link.tamper = None;
    link.advance(10 * SECOND);
    assert!(link.other.bodies().contains(&"0"), "a run took its place");
}

#[test]
fn a_hold_ends_with_its_link() {
    let mut link = Link::counted();
    link.mine.hear(link.now, &xml(&Control::Hold(crate::bench::name(THEIRS))));
    send(&mut link, 0..1);
    assert!(!link.lose(MINE).contains("<message"));
    link.other.delivered.clear();
    link.cut(OTHER);
    assert_eq!(link.other.bodies(), ["0"]);
}

/// The side that was dialled has lost its session, and asks for pairs before the other has begun a new one.
#[test]
fn who_was_refused_a_session_may_answer_before_it_begins_another() {
    let mut link = Link::counted();
    link.other.delivered.clear();
    link.break_off(MINE);
    link.other.session = None;
    link.choose();
    let said = link.lose(MINE);
    let (chosen, resumes) = said.split_at(said.find("<resume ").expect("it wants to go on"));
    link.other.hear(link.now, chosen);
    link.other.send(link.now, THEIRS, "camoes.lit", "0");
    // The answer to a question is on its way before the refusal is read.
    let asks = link.other.says();
    assert!(asks.contains("<identity-request "), "{asks}");
    link.mine.hear(link.now, &asks);
    link.other.hear(link.now, resumes);
    link.run();
    assert_eq!((&link.mine.closed, &link.other.closed), (&None, &None));
    send(&mut link, 1..2);
    link.advance(3 * SECOND);
    assert_eq!((link.mine.bodies(), link.other.bodies()), (vec!["0"], vec!["1"]));
    assert_eq!(link.mine.stream.unacknowledged(), 0, "both count");
}

/// A count means nothing before both have begun to count.
#[test]
fn a_link_that_ends_before_it_counts_says_no_count() {
    let mut link = Link::not_chosen(Setup { role: Role::Dialled { counts: true }, ..Setup::mine() }, Setup::other());
    link.choose();
    link.mine.hear(link.now, "<iq from='xmpp.other.isp' to='xmpp.my.isp' type='result' id='p9'/>");
    link.mine.act(link.now, |stream, out| stream.close(None, out));
    let said = link.mine.says();
    assert!(said.ends_with("</stream:stream>") && !said.contains("<a "), "{said}");
}
