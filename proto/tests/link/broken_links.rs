//! What may go wrong around a break: reports and stanzas that cross it, pairs that may not come back, peers that say
//! anything at all.

use std::time::Duration;

use heteronym_proto::control::{DeactivateReason, UndeliveredReason};
use heteronym_proto::host_stream::Role;
use sha2::{Digest, Sha256};

use crate::bench::{MINE, OTHER, later, message, pair, policies};
use crate::wire::Link;

const OURS: &str = "saramago.lit";
const THEIRS: &str = "pessoa.lit";

fn send(link: &mut Link, bodies: std::ops::Range<usize>) {
    link.mine.send_together(link.now, OURS, THEIRS, bodies.map(|body| body.to_string()));
}

/// The other side ends the pair.
fn end_pair(link: &mut Link) {
    link.other.act(link.now, |stream, out| {
        let slot = stream.slot(&pair(THEIRS, OURS));
        stream.deactivate(slot, DeactivateReason::Idle, out);
    });
}

#[test]
fn no_timer_spins_while_resumed_does_not_come() {
    let mut link = Link::counted();
    link.break_off(MINE);
    link.choose();
    link.lose(MINE);
    let mut calls = 0;
    let end = link.now.instant + Duration::from_secs(14);
    while !link.mine.dead {
        let next = link.mine.stream.deadline().expect("it looks");
        assert!(next < end);
        link.now = later(link.now, next.saturating_duration_since(link.now.instant) + Duration::from_millis(1));
        link.mine.timeout(link.now);
        calls += 1;
    }
    assert!(calls < 20, "{calls} time-outs");
}

#[test]
fn reports_are_seen_to_be_read_on_a_busy_link() {
    let mut link = Link::counted();
    for round in 0..200 {
        send(&mut link, round * 300..(round + 1) * 300);
        link.run();
        link.other.has_read(link.now);
        link.other.delivered.clear();
        link.other.delivered_as.clear();
        link.run();
        link.other.send(link.now, THEIRS, OURS, "x");
        link.run();
        link.mine.hand_back(link.now, UndeliveredReason::DomainUnavailable);
        link.run();
        link.advance(Duration::from_millis(10));
    }
    assert!(link.sent_by(MINE).contains(&"iq"), "two seconds and no ping behind {} reports", link.count("undelivered"));
}

#[test]
fn a_pair_that_is_not_allowed_any_more_is_not_asked_for_again() {
    for dialler in [MINE, OTHER] {
        let mut link = Link::counted();
        send(&mut link, 0..1);
        link.lose(MINE);
        link.break_off(dialler);
        let mut config = link.mine.config().clone();
        config.policies = policies(&[THEIRS]);
        let now = link.now;
        link.mine.stream.reconfigure(now, config, &mut Default::default());
        link.choose();
        link.run();
        assert!(!link.mine.is_active(OURS, THEIRS), "{dialler} {:?}", link.wire);
        assert_eq!(link.mine.bounced_bodies(), ["0"]);
    }
}

#[test]
fn what_did_not_arrive_of_a_pair_that_moved_goes_where_it_is() {
    let mut link = Link::counted();
    link.other.delivered.clear();
    send(&mut link, 0..1);
    link.lose(MINE);
    link.mine.act(link.now, |stream, out| stream.moved(&pair(OURS, THEIRS), out));
    link.lose(MINE);
    link.cut(MINE);
    link.advance(Duration::from_secs(1));
    assert!(!link.mine.is_active(OURS, THEIRS), "the old host has the pair again: {:?}", link.other.bodies());
    assert_eq!(link.mine.rerouted.len(), 1);
}

#[test]
fn pings_are_answered_although_the_session_was_lost() {
    let mut link = Link::counted();
    link.break_off(OTHER);
    link.mine.session = None;
    link.choose();
    link.carry(MINE);
    // Mine decides, and another link has come: it probes this one.
    link.mine.act(link.now, |stream, out| stream.probe(out));
    link.carry(MINE);
    link.run();
    link.advance(Duration::from_secs(3));
    assert_eq!(link.mine.alive, 1, "{:?}", link.wire);
}

#[test]
fn what_came_back_and_what_is_lost_keep_their_order() {
    let mut link = Link::counted();
    link.other.delivered.clear();
    send(&mut link, 0..1);
    let first = link.lose(MINE);
    send(&mut link, 1..2);
    link.lose(MINE);
    // The other side ends the pair before it has read any of it.
    end_pair(&mut link);
    link.other.hear(link.now, &first);
    let said = link.lose(OTHER);
    assert!(said.contains("<undelivered"), "{said}");
    link.mine.hear(link.now, &said);
    link.cut(MINE);
    link.advance(Duration::from_secs(5));
    assert_eq!(link.other.bodies(), ["0", "1"]);
}

#[test]
fn reports_of_which_one_was_lost_keep_the_order() {
    let mut link = Link::counted();
    link.other.delivered.clear();
    send(&mut link, 0..2);
    let both = link.lose(MINE);
    end_pair(&mut link);
    link.other.hear(link.now, &both);
    let said = link.lose(OTHER);
    let second = said.rfind("<undelivered").expect("two reports");
    assert!(said[..second].contains("<undelivered"), "{said}");
    link.mine.hear(link.now, &said[..second]);
    link.cut(MINE);
    link.advance(Duration::from_secs(5));
    assert_eq!(link.other.bodies(), ["0", "1"]);
}

#[test]
fn no_run_begins_before_the_pairs_are_resumed() {
    let mut link = Link::counted();
    link.lose(MINE);
    link.break_off(OTHER);
    send(&mut link, 0..1);
    link.choose();
    link.run();
    let runs = link.count("request") + link.count("identity-request");
    assert_eq!(runs, 0, "{:?}", link.sent_by(MINE));
}

/// `<resume-pairs/>` stands right behind `<resume/>`, whatever the answer will be.
#[test]
fn after_a_lost_session_the_next_one_counts() {
    for dialler in [MINE, OTHER] {
        let mut link = Link::counted();
        link.break_off(dialler);
        if dialler == MINE {
            link.other.session = None
        } else {
            link.mine.session = None
        }
        link.choose();
        link.run();
        let said: Vec<_> = [MINE, OTHER].map(|host| link.sent_by(host).join(" ")).into();
        assert_eq!(link.count("enabled"), 1, "{said:?}");
    }
}

#[test]
fn after_a_lost_session_nothing_is_lost_with_the_next_link() {
    let mut link = Link::counted();
    link.break_off(MINE);
    link.other.session = None;
    link.choose();
    link.run();
    link.advance(Duration::from_secs(3));
    link.expect_usable(OURS, THEIRS);
    link.other.delivered.clear();
    send(&mut link, 0..3);
    link.lose(MINE);
    link.cut(MINE);
    link.advance(Duration::from_secs(30));
    assert_eq!((link.other.bodies(), link.mine.bounced_bodies()), (vec!["0", "1", "2"], vec![]));
}

#[test]
fn a_count_that_never_was_does_not_lock_the_host_out() {
    let mut link = Link::counted();
    // The other side's state is that of a snapshot: it counts less than it acknowledged.
    send(&mut link, 0..3);
    link.run();
    link.advance(Duration::from_secs(3));
    for _ in 0..3 {
        link.break_off(OTHER);
        link.tamper = Some(Box::new(|_, text| {
            let at = text.find(" h='").filter(|_| text.starts_with("<resume "))?;
            Some(vec![format!("{} h='0'/>", &text[..at])])
        }));
        link.choose();
        link.run();
    }
    assert!(link.mine.closed.is_none(), "{:?}", link.mine.closed);
}

#[test]
fn a_report_that_is_repeated_comes_before_what_did_not_arrive() {
    for dialler in [MINE, OTHER] {
        let mut link = Link::counted();
        link.other.delivered.clear();
        send(&mut link, 0..1);
        let first = link.lose(MINE);
        send(&mut link, 1..2);
        link.lose(MINE);
        end_pair(&mut link);
        link.other.hear(link.now, &first);
        link.lose(OTHER);
        link.cut(dialler);
        link.advance(Duration::from_secs(5));
        assert_eq!(link.other.bodies(), ["0", "1"], "{dialler}");
    }
}

/// A peer may prove its pairs anew on every link and never send the list of those that it could resume.
#[test]
fn activations_that_sleep_do_not_pile_up() {
    let mut link = Link::counted();
    for _ in 0..20 {
        link.break_off(OTHER);
        link.tamper = Some(Box::new(|_, text| text.starts_with("<resume-pairs").then(Vec::new)));
        send(&mut link, 0..1);
        link.choose();
        link.run();
    }
    link.break_off(OTHER);
    assert_eq!(link.mine.session.as_ref().map(|session| session.resumable_pairs()), Some(1));
}

#[test]
fn a_pair_that_was_ended_before_the_list_came_is_not_resumed() {
    let mut link = Link::counted();
    link.break_off(OTHER);
    link.choose();
    link.mine.act(link.now, |stream, out| stream.deactivate_pair(&pair(OURS, THEIRS), DeactivateReason::Policy, out));
    link.run();
    assert!(!link.mine.is_active(OURS, THEIRS));
}

/// What the next link carries is numbered as the peer numbers it, also where the peer refuses to count.
#[test]
fn reports_on_the_link_after_a_lost_session_name_the_right_stanza() {
    let mut link = Link::counted();
    link.break_off(OTHER);
    link.mine.session = None;
    link.choose();
    link.carry(MINE);
    link.carry(OTHER);
    link.carry(MINE);
    link.mine.act(link.now, |stream, out| stream.probe(out));
    link.carry(MINE);
    link.run();
    link.other.send(link.now, THEIRS, OURS, "a");
    link.run();
    link.mine.hand_back(link.now, UndeliveredReason::DomainUnavailable);
    link.other.send(link.now, THEIRS, OURS, "b");
    link.run();
    assert_eq!(link.other.bounced_bodies(), ["a"], "delivered: {:?}", link.mine.bodies());
}

/// Numbers that are the same for a seed in every run.
struct Dice(u64, u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.1 += 1;
        let hash = Sha256::digest(format!("peer {} {}", self.0, self.1));
        usize::from(u16::from_be_bytes([hash[0], hash[1]])) % below
    }
}

/// What a peer may say, in whatever order.
fn anything(dice: &mut Dice, previd: &str) -> String {
    let (h, sm, federation) = (dice.roll(6), "urn:xmpp:sm:3", "urn:xmpp:federation:0");
    match dice.roll(16) {
        0 => format!("<enable xmlns='{sm}' resume='true'/>"),
        1 => format!("<enabled xmlns='{sm}' id='x' resume='true'/>"),
        2 | 3 => format!("<resume xmlns='{sm}' previd='{previd}' h='{h}'/>"),
        4 | 5 => format!("<resumed xmlns='{sm}' previd='{previd}' h='{h}'/>"),
        6 => format!("<failed xmlns='{sm}'/>"),
        7 | 8 => format!("<a xmlns='{sm}' h='{h}'/>"),
        9 => format!("<r xmlns='{sm}'/>"),
        10 => format!("<resume-pairs xmlns='{federation}' id='r1'></resume-pairs>"),
        11 => format!("<resumed-pairs xmlns='{federation}' id='r1'></resumed-pairs>"),
        12 => format!("<undelivered xmlns='{federation}' n='{h}' reason='pair-not-active'/>"),
        13 => format!("<undelivered xmlns='{federation}' n='{h}' reason='overflow'/>"),
        14 => message([THEIRS, "nobody.lit"][h % 2], OURS, "m"),
        _ => format!("<iq from='{OTHER}' to='{MINE}' type='result' id='p{h}'/>"),
    }
}

/// What may happen on our side meanwhile.
fn meanwhile(dice: &mut Dice, link: &mut Link) {
    let now = link.now;
    match dice.roll(7) {
        0 => {
            let role = [Role::Accepted, Role::Dialled { counts: true }][dice.roll(2)];
            link.mine.reconnect(now, role, [7; 64]);
            link.mine.act(now, |stream, out| stream.choose(now, out));
        }
        1 => link.mine.send(now, OURS, THEIRS, "s"),
        2 if !link.mine.delivered.is_empty() => link.mine.hand_back(now, UndeliveredReason::Overflow),
        3 => link.mine.has_read(now),
        4 if link.mine.stream.is_adopted() => {
            link.mine.act(now, |stream, out| stream.moved(&pair(OURS, THEIRS), out));
        }
        5 if dice.roll(8) == 0 => link.mine.act(now, |stream, out| stream.close(None, out)),
        _ => (),
    }
}

/// Lets every time-out come at its moment for a while; none that was handled is due still.
fn tick(link: &mut Link) {
    for _ in 0..40 {
        let Some(next) = link.mine.stream.deadline() else { return };
        let wait = next.saturating_duration_since(link.now.instant).min(Duration::from_secs(2));
        link.now = later(link.now, wait);
        link.mine.timeout(link.now);
    }
    assert!(link.mine.stream.deadline().is_none_or(|next| next > link.now.instant), "a time-out stays due");
}

#[test]
fn whatever_a_peer_says_nothing_panics_and_no_time_out_stays_due() {
    for seed in 0..150 {
        let (mut link, mut dice, mut previd) = (Link::counted(), Dice(seed, 0), "x".to_owned());
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..150 {
                match dice.roll(4) {
                    0 => meanwhile(&mut dice, &mut link),
                    1 if dice.roll(3) == 0 => tick(&mut link),
                    1 => {
                        let said = link.mine.says();
                        let id = ["previd='", "sm:3' id='"].iter().find_map(|mark| said.split_once(mark));
                        previd = id.and_then(|(_, rest)| rest.split('\'').next()).unwrap_or("x").to_owned();
                    }
                    _ => link.mine.hear(link.now, &anything(&mut dice, &previd)),
                }
            }
        }));
        assert!(run.is_ok(), "seed {seed}");
    }
}

/// A link that broke, and another on which the side that was dialled hears `<chosen/>` and nothing else.
fn chosen_and_no_more() -> Link {
    let mut link = Link::counted();
    link.break_off(MINE);
    link.choose();
    let said = link.lose(MINE);
    let chosen = &said[..said.find("<resume ").expect("it wants to go on")];
    link.other.hear(link.now, chosen);
    link
}

/// The side that was dialled and has a session does not lose it because the link carries nothing any more.
#[test]
fn a_link_that_goes_dead_before_its_first_word_takes_no_session_with_it() {
    let mut link = chosen_and_no_more();
    for seconds in 0..20 {
        let now = later(link.now, Duration::from_secs(seconds));
        link.other.timeout(now);
    }
    assert!(link.other.dead && link.other.says().contains("<ping "));
    link.cut(OTHER);
    assert_eq!((link.mine.in_doubt, link.other.in_doubt), (0, 0));
    assert!(link.mine.is_active(OURS, THEIRS), "resumed");
}

/// One that lives and never says that it counts is believed after a while.
#[test]
fn a_peer_that_lives_and_does_not_count_loses_the_session() {
    let mut link = chosen_and_no_more();
    for seconds in 0..40 {
        let now = later(link.now, Duration::from_secs(seconds));
        link.other.timeout(now);
        if link.other.says().contains("<ping ") {
            let answer = format!("<iq from='{MINE}' to='{OTHER}' type='result' id='p1'/>");
            link.other.stream.heard(now);
            link.other.hear(now, &answer);
        }
    }
    assert!(!link.other.dead);
    assert!(link.other.session.is_none() && link.other.stream.unacknowledged() == 0);
}
