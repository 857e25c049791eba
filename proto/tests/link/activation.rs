//! Steps 2 to 5 between two hosts that behave.

use std::time::Duration;

use heteronym_proto::control::DeactivateReason;
use heteronym_proto::host_stream::PairChange;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::KeyType;

use crate::bench::{MINE, OTHER, Setup, later, pair};
use crate::vault::Certificate;
use crate::wire::Link;

#[test]
fn an_rsa_domain_and_a_p256_domain_become_active_both_ways() {
    let mut link = Link::new();
    link.activate("pessoa.lit", "saramago.lit");
    link.expect_usable("saramago.lit", "pessoa.lit");
    assert_eq!((link.mine.actors(), link.other.actors()), (0, 0), "a steady pair needs no actor");
}

#[test]
fn two_p256_domains_become_active_both_ways() {
    let mut link = Link::new();
    link.activate("pessoa.lit", "camoes.lit");
    link.expect_usable("camoes.lit", "pessoa.lit");
}

#[test]
fn two_rsa_domains_become_active_both_ways() {
    let rsa = |host, domain| Setup::new(host, vec![Certificate::new(domain, KeyType::Rsa)]);
    let mut link = Link::with(rsa(MINE, "saramago.lit"), rsa(OTHER, "pessoa.lit"));
    link.activate("pessoa.lit", "saramago.lit");
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn either_host_may_ask() {
    let mut link = Link::new();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "1");
    link.run();
    assert_eq!(link.other.bodies(), ["1"]);
    assert!(link.mine.record("saramago.lit", "pessoa.lit").active.as_ref().is_some_and(|active| active.initiated));
    assert!(link.other.record("pessoa.lit", "saramago.lit").active.as_ref().is_some_and(|active| !active.initiated));
}

#[test]
fn strangers_need_two_round_trips_to_the_first_stanza() {
    let mut link = Link::new();
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    let elements = ["identity-request", "request", "activate", "message"];
    for (round, expected) in elements[..2].iter().enumerate() {
        assert!(link.carry(OTHER));
        assert_eq!(link.sent_by(OTHER), &elements[..=round], "{expected}");
        assert!(link.carry(MINE));
    }
    assert!(link.carry(OTHER));
    assert_eq!(link.sent_by(OTHER), elements, "the stanza is right behind <activate/>");
    assert_eq!(link.mine.bodies(), ["1"], "nothing but <activate/> is waited for");
}

#[test]
fn known_domains_need_one_round_trip() {
    let mut link = Link::acquainted();
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    assert!(link.carry(OTHER) && link.carry(MINE) && link.carry(OTHER));
    assert_eq!(link.sent_by(OTHER), ["request", "activate", "message"]);
    assert_eq!(link.sent_by(MINE), ["response"]);
    assert_eq!(link.mine.bodies(), ["1"]);
}

#[test]
fn the_responder_may_send_behind_active() {
    let mut link = Link::acquainted();
    link.mine.frozen = true;
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    link.run();
    // Our own user writes while the peer's run is being served: no second run, no glare.
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "2");
    link.mine.thaw(link.now);
    link.run();
    assert_eq!(link.mine.bodies(), ["1"]);
    assert_eq!(link.other.bodies(), ["2"]);
    assert_eq!(link.count("request"), 1);
    let sent = link.sent_by(MINE);
    assert_eq!(sent[sent.len() - 2..], ["active", "message"]);
}

#[test]
fn stanzas_that_wait_keep_their_order() {
    let mut link = Link::new();
    for n in 0..50 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
        if n % 7 == 0 {
            link.carry(OTHER);
            link.carry(MINE);
        }
    }
    link.run();
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(link.mine.bodies(), expected);
}

#[test]
fn pairs_are_activated_beside_each_other() {
    let mut link = Link::new();
    for (theirs, ours) in [("pessoa.lit", "saramago.lit"), ("pessoa.lit", "camoes.lit"), ("sophia.lit", "camoes.lit")] {
        link.other.send(link.now, theirs, ours, theirs);
    }
    link.mine.send(link.now, "saramago.lit", "sophia.lit", "4");
    link.run();
    assert_eq!(link.mine.delivered.len(), 3);
    assert_eq!(link.other.bodies(), ["4"]);
    assert_eq!(link.mine.stream.records().filter(|record| record.active.is_some()).count(), 4);
}

#[test]
fn an_activation_that_is_on_its_way_is_not_asked_for_again() {
    let mut link = Link::new();
    link.other.frozen = true;
    for n in 0..5 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
        link.run();
    }
    link.other.thaw(link.now);
    link.run();
    assert_eq!(link.count("request"), 1);
    assert_eq!(link.mine.delivered.len(), 5);
}

#[test]
fn glare_ends_with_one_active_pair() {
    for frozen in [false, true] {
        let mut link = Link::new();
        link.mine.frozen = frozen;
        // So slowly that the requests of both are under way at once.
        (link.mine.one_by_one, link.other.one_by_one) = (true, true);
        link.mine.send(link.now, "saramago.lit", "pessoa.lit", "from mine");
        link.other.send(link.now, "pessoa.lit", "saramago.lit", "from other");
        link.run();
        link.mine.thaw(link.now);
        link.run();
        assert_eq!(link.other.bodies(), ["from mine"], "{:#?}", link.wire);
        assert_eq!(link.mine.bodies(), ["from other"], "{:#?}", link.wire);
        let active = link.mine.record("saramago.lit", "pessoa.lit").active.as_ref().map(|active| active.initiated);
        assert_eq!(active, Some(true), "the host with the smaller name has its way");
        assert_eq!(link.other.refusals().len(), usize::from(frozen), "losing is known before the request comes");
    }
}

#[test]
fn glare_leaves_room_for_the_runs_that_wait() {
    // Both sides ask for everything at once; the loser's runs are dropped, not answered.
    let domains = |host, prefix: &str| {
        let certificate = |n| Certificate::new(&format!("{prefix}{n}.lit"), KeyType::P256);
        Setup::new(host, (0..12).map(certificate).collect())
    };
    let mut link = Link::with(domains(MINE, "m"), domains(OTHER, "o"));
    for (m, o) in (0..12).flat_map(|m| (0..12).map(move |o| (m, o))) {
        let (ours, theirs) = (format!("m{m}.lit"), format!("o{o}.lit"));
        link.other.send(link.now, &theirs, &ours, "x");
        link.mine.send(link.now, &ours, &theirs, "x");
    }
    link.run();
    link.advance(Duration::from_secs(20));
    assert_eq!((link.mine.delivered.len(), link.other.delivered.len()), (144, 144));
    assert_eq!((link.mine.bounced.len(), link.other.bounced.len()), (0, 0));
}

#[test]
fn the_loser_of_a_glare_asks_again_when_no_request_comes() {
    let mut link = Link::acquainted();
    link.mine.frozen = true;
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "1");
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "2");
    link.run();
    assert_eq!(link.other.refusals(), [Refusal::Glare]);
    // The winner's actor breaks down instead of asking.
    let now = link.now;
    link.mine.act(now, |stream, out| {
        let slot = stream.slot(&pair("saramago.lit", "pessoa.lit"));
        stream.pair_broke(now, slot, out);
    });
    link.mine.thaw(now);
    link.advance(Duration::from_secs(6));
    assert_eq!(link.mine.bodies(), ["2"]);
    assert_eq!(link.other.bodies(), ["1"]);
}

#[test]
fn deactivation_is_behind_the_last_stanza_and_idempotent() {
    let mut link = Link::active();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "last");
    let slot = link.mine.stream.slot(&pair("saramago.lit", "pessoa.lit"));
    link.mine.act(link.now, |stream, out| stream.deactivate(slot, DeactivateReason::Idle, out));
    link.mine.act(link.now, |stream, out| stream.deactivate(slot, DeactivateReason::Idle, out));
    link.run();
    assert_eq!(link.sent_by(MINE), ["message", "deactivate"]);
    assert_eq!(link.other.bodies(), ["last"]);
    assert!(!link.mine.is_active("saramago.lit", "pessoa.lit") && !link.other.is_active("pessoa.lit", "saramago.lit"));
    assert!(!link.mine.is_routed("saramago.lit", "pessoa.lit") && !link.other.is_routed("pessoa.lit", "saramago.lit"));
    let again = link.wire[1].1.clone();
    link.other.hear(link.now, &again);
    let ended = |(_, change): &(_, PairChange)| matches!(change, PairChange::Deactivated(DeactivateReason::Idle));
    assert_eq!(link.other.changes.iter().filter(|change| ended(change)).count(), 1);
    link.expect_usable("saramago.lit", "pessoa.lit");
}

/// Another host has proved the pair: what is queued still goes here, what comes later goes there.
#[test]
fn a_pair_that_moved_drains_and_takes_nothing_more() {
    let mut link = Link::active();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "last");
    let moved = pair("saramago.lit", "pessoa.lit");
    link.mine.act(link.now, |stream, out| stream.moved(&moved, out));
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "elsewhere");
    link.run();
    assert_eq!(link.sent_by(MINE), ["message", "deactivate"]);
    assert_eq!(link.other.bodies(), ["last"]);
    assert!(matches!(&*link.mine.rerouted, [stanza] if stanza.contains("elsewhere")), "{:?}", link.mine.rerouted);
    let ended = |(_, change): &(_, PairChange)| matches!(change, PairChange::Deactivated(DeactivateReason::Moved));
    assert_eq!(link.other.changes.iter().filter(|change| ended(change)).count(), 1);
    // It may come back: the newest activation wins.
    link.activate("pessoa.lit", "saramago.lit");
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_pair_that_moved_gives_up_what_it_may_not_send() {
    let mut link = Link::active();
    link.mine.hear(link.now, "<hold xmlns='urn:xmpp:federation:0' domain='pessoa.lit'/>");
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "held");
    link.mine.act(link.now, |stream, out| stream.moved(&pair("saramago.lit", "pessoa.lit"), out));
    assert!(matches!(&*link.mine.rerouted, [stanza] if stanza.contains("held")), "{:?}", link.mine.rerouted);
    link.run();
    assert_eq!(link.sent_by(MINE), ["deactivate"]);
}

#[test]
fn a_compromised_key_ends_a_pair_before_its_stanzas() {
    let mut link = Link::active();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "too late");
    let slot = link.mine.stream.slot(&pair("saramago.lit", "pessoa.lit"));
    link.mine.act(link.now, |stream, out| stream.deactivate(slot, DeactivateReason::KeyCompromise, out));
    link.run();
    assert_eq!(link.sent_by(MINE), ["deactivate"]);
    assert!(link.other.delivered.is_empty());
    link.advance(Duration::from_secs(31));
    assert_eq!(link.mine.bounced.len(), 1, "what waits is told");
}

#[test]
fn a_pair_that_ends_while_it_is_renewed_stays_ended() {
    let mut link = Link::active();
    let slot = link.mine.stream.slot(&pair("saramago.lit", "pessoa.lit"));
    link.other.frozen = true;
    link.now = later(link.now, Duration::from_secs(11 * 3600));
    link.other.timeout(link.now);
    link.other.thaw(link.now);
    link.carry(OTHER);
    link.mine.act(link.now, |stream, out| stream.deactivate(slot, DeactivateReason::Policy, out));
    link.run();
    assert!(!link.mine.is_active("saramago.lit", "pessoa.lit"), "{:#?}", link.wire);
    assert!(!link.other.is_active("pessoa.lit", "saramago.lit"));
}

#[test]
fn a_pair_asked_for_again_while_it_drains_is_usable() {
    let mut link = Link::active();
    for n in 0..3 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
    }
    let slot = link.other.stream.slot(&pair("pessoa.lit", "saramago.lit"));
    link.other.act(link.now, |stream, out| stream.deactivate(slot, DeactivateReason::Idle, out));
    link.mine.act(link.now, |stream, out| {
        let slot = stream.slot(&pair("saramago.lit", "pessoa.lit"));
        stream.deactivate(slot, DeactivateReason::Idle, out);
    });
    // Our host asks anew before the other's last stanzas are written.
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "again");
    for _ in 0..6 {
        link.carry(MINE);
    }
    link.run();
    assert_eq!(link.mine.bodies(), ["0", "1", "2"]);
    link.expect_usable("saramago.lit", "pessoa.lit");
}
