//! What a hostile peer, or a flood, can make us keep: nothing without a bound.

use std::time::Duration;

use heteronym_proto::control::{About, Control, IdentityRequest};
use heteronym_proto::host_stream::Role;
use heteronym_proto::identity::Identity;
use heteronym_proto::limits::{PENDING_ACTIVATIONS, UNPROVEN_PAIRS, UNREAD_REPORTS};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::stream_error::Condition;

use crate::bench::{Setup, message, name, xml};
use crate::peer::Scripted;
use crate::wire::Link;

fn aid(n: usize) -> [u8; 16] {
    let mut aid = [0xAA; 16];
    aid[..8].copy_from_slice(&(n as u64).to_be_bytes());
    aid
}

fn unlimited() -> Setup {
    let mut setup = Setup::mine();
    setup.limits.activations_per_second = 1_000_000;
    setup
}

/// A request by the book, but in the name of a domain that nobody has heard of.
fn stranger(peer: &Scripted, n: usize) -> Control {
    let (_, mut request) = peer.request("pessoa.lit", "saramago.lit", aid(n));
    request.initiator = name(&format!("d{n}.lit"));
    Control::Request(request)
}

#[test]
fn the_pairs_that_a_peer_names_are_bounded() {
    let mut peer = Scripted::with(unlimited());
    peer.until_active("pessoa.lit", "saramago.lit", [1; 16]);
    let request = stranger(&peer, 0);
    let template = xml(&request);
    for n in 0..UNPROVEN_PAIRS + 500 {
        peer.raw(&template.replacen("d0.lit", &format!("d{n}.lit"), 1));
        assert_eq!(peer.controls().len(), 1, "each is refused");
    }
    assert!(peer.side.stream.records().count() <= UNPROVEN_PAIRS + 1);
    assert!(peer.side.stream.deadline().is_some(), "only the active pair's renewal");
    peer.raw(&message("pessoa.lit", "saramago.lit", "still here"));
    assert_eq!(peer.side.bodies(), ["still here"]);
    peer.until_active("sophia.lit", "camoes.lit", [2; 16]);
}

#[test]
fn a_slot_that_was_given_away_does_not_get_what_was_meant_for_another() {
    let mut peer = Scripted::with(unlimited());
    // The pair's identity is being checked while its place is lost to others.
    peer.side.frozen = true;
    let identity = peer.own("pessoa.lit").identity.clone();
    let question = IdentityRequest { id: "q".to_owned(), domain: name("saramago.lit"), have: None, identity };
    peer.say(&Control::IdentityRequest(question));
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", aid(1 << 20));
    peer.say(&Control::Request(request));
    peer.advance(Duration::from_secs(31));
    peer.side.thaw(peer.now);
    peer.controls();
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
    peer.until_active("pessoa.lit", "saramago.lit", [2; 16]);
}

/// Also where the last stanza named the pair that had it.
#[test]
fn a_slot_that_was_given_away_leads_to_the_server_of_its_new_pair() {
    let mut peer = Scripted::with(unlimited());
    let template = xml(&stranger(&peer, 0));
    for n in 0..UNPROVEN_PAIRS {
        peer.raw(&template.replacen("d0.lit", &format!("d{n}.lit"), 1));
        if n == 0 {
            peer.raw(&message("d0.lit", "saramago.lit", "early"));
        }
    }
    peer.controls();
    peer.until_active("sophia.lit", "camoes.lit", [2; 16]);
    peer.raw(&message("sophia.lit", "camoes.lit", "x"));
    assert_eq!(peer.side.delivered_as.last().map(|(_, _, entry)| *entry), Some(1));
    assert_eq!(peer.side.bodies(), ["x"]);
}

#[test]
fn the_runs_that_a_peer_leaves_pending_are_bounded() {
    let mut peer = Scripted::with(unlimited());
    peer.side.frozen = true;
    let template = xml(&stranger(&peer, 0));
    let about = xml(&Control::Refused { about: About::Aid(aid(0)), refusal: Refusal::Malformed });
    let first = about.split("aid='").nth(1).and_then(|rest| rest.split('\'').next()).expect("an aid").to_owned();
    for n in 0..PENDING_ACTIVATIONS + 10 {
        let about = xml(&Control::Refused { about: About::Aid(aid(n)), refusal: Refusal::Malformed });
        let id = about.split("aid='").nth(1).and_then(|rest| rest.split('\'').next()).expect("an aid").to_owned();
        peer.raw(&template.replacen(&first, &id, 1).replacen("d0.lit", &format!("d{n}.lit"), 1));
    }
    let controls = peer.controls();
    assert_eq!(controls.len(), 10);
    assert!(controls.iter().all(|control| matches!(control, Control::Refused { refusal: Refusal::Busy(_), .. })));
    assert_eq!(peer.side.actors(), PENDING_ACTIVATIONS);
    peer.advance(Duration::from_secs(31));
    assert_eq!(peer.side.actors(), 0, "they end");
    peer.side.thaw(peer.now);
    peer.controls();
    peer.until_active("pessoa.lit", "saramago.lit", [1; 16]);
}

#[test]
fn our_own_runs_take_turns() {
    let mut link = Link::new();
    link.other.frozen = true;
    for n in 0..500 {
        link.other.send(link.now, "pessoa.lit", &format!("d{n}.lit"), "x");
    }
    assert_eq!(link.other.actors(), 64);
    link.other.thaw(link.now);
    link.run();
    assert_eq!(link.other.bounced.len(), 500, "each was asked for and refused");
    assert_eq!(link.other.actors(), 0);
}

#[test]
fn timers_of_a_pair_do_not_pile_up() {
    let mut peer = Scripted::with(unlimited());
    peer.until_active("pessoa.lit", "saramago.lit", [1; 16]);
    peer.say(&Control::Hold(name("pessoa.lit")));
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "waits");
    for _ in 0..1000 {
        peer.say(&Control::Go(name("pessoa.lit")));
        peer.say(&Control::Hold(name("pessoa.lit")));
    }
    for n in 2..50 {
        peer.until_active("pessoa.lit", "saramago.lit", [n; 16]);
    }
    assert!(peer.side.stream.timers() <= 3, "{}", peer.side.stream.timers());
    peer.advance(Duration::from_secs(31));
    assert_eq!(peer.side.bounced.len(), 1);
    assert_eq!(peer.side.stream.timers(), 1);
}

#[test]
fn identities_that_a_peer_shows_are_counted_against_a_budget() {
    let mut setup = Setup::mine();
    setup.limits.activations_per_second = 2;
    let mut peer = Scripted::with(setup);
    let mut refused = 0;
    for n in 0..20 {
        let identity = Identity { domain: name("pessoa.lit"), chain: vec![vec![n; 100]], kem: None };
        let question = IdentityRequest { id: format!("q{n}"), domain: name("saramago.lit"), have: None, identity };
        peer.say(&Control::IdentityRequest(question));
        refused += usize::from(matches!(peer.control(), Control::Refused { refusal: Refusal::Busy(1), .. }));
    }
    assert_eq!(refused, 10);
    assert_eq!(peer.side.operations.iter().filter(|operation| **operation == "check").count(), 10);
    peer.advance(Duration::from_secs(1));
    peer.until_active("pessoa.lit", "saramago.lit", [1; 16]);
}

#[test]
fn a_peer_that_does_not_read_our_answers_is_left() {
    let mut setup = Setup::mine();
    setup.limits.host_queue_bytes = 100_000;
    let mut peer = Scripted::with(setup);
    peer.until_active("pessoa.lit", "saramago.lit", [1; 16]);
    let mut count = 0;
    while peer.side.closed.is_none() {
        peer.raw("<message from='u@sophia.lit' to='v@saramago.lit'/>");
        count += 1;
        assert!(count < 10_000, "the answers wait without end");
    }
    let closed = peer.side.closed.clone().flatten().map(|error| error.condition);
    assert_eq!(closed, Some(Condition::ResourceConstraint));
    // A peer that reads may ask as often.
    let mut setup = Setup::mine();
    setup.limits.host_queue_bytes = 100_000;
    let mut peer = Scripted::with(setup);
    for _ in 0..count * 2 {
        peer.raw("<message from='u@sophia.lit' to='v@saramago.lit'/>");
        peer.heard();
    }
    assert!(peer.side.closed.is_none());
}

#[test]
fn pings_that_are_not_read_are_bounded_too() {
    let mut setup = Setup::mine();
    setup.limits.host_queue_bytes = 100_000;
    let mut peer = Scripted::with(setup);
    let ping = "<iq from='xmpp.other.isp' to='xmpp.my.isp' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";
    for _ in 0..10_000 {
        peer.raw(ping);
    }
    assert!(peer.side.closed.is_some());
}

/// It reads them, but never says so.
#[test]
fn reports_that_a_peer_does_not_acknowledge_are_bounded() {
    let mut peer = Scripted::with(Setup { role: Role::Accepted, ..unlimited() });
    peer.raw("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    let at_once = 1024;
    let strays = "<message from='u@sophia.lit' to='v@saramago.lit'/>".repeat(at_once);
    let mut sent = 0;
    while peer.side.closed.is_none() {
        assert!(sent <= UNREAD_REPORTS, "they are kept without end");
        peer.raw(&strays);
        peer.heard();
        sent += at_once;
    }
    let closed = peer.side.closed.clone().flatten().map(|error| error.condition);
    assert_eq!((closed, sent), (Some(Condition::ResourceConstraint), UNREAD_REPORTS + at_once));
}

#[test]
fn domains_that_a_peer_holds_are_bounded() {
    let mut peer = Scripted::new();
    peer.until_active("pessoa.lit", "saramago.lit", [1; 16]);
    for n in 0..heteronym_proto::limits::HELD_DOMAINS {
        peer.say(&Control::Hold(name(&format!("d{n}.lit"))));
    }
    peer.say(&Control::Hold(name("pessoa.lit")));
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "not held");
    assert_eq!(peer.heard().len(), 1);
}

#[test]
fn questions_that_are_never_answered_are_forgotten() {
    let mut peer = Scripted::new();
    for _ in 0..50 {
        peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
        peer.advance(Duration::from_secs(40));
    }
    let ids: Vec<String> = peer
        .controls()
        .into_iter()
        .filter_map(|control| match control {
            Control::IdentityRequest(question) => Some(question.id),
            _ => None,
        })
        .collect();
    assert!(ids.len() > 10);
    let identity = peer.own("pessoa.lit").identity.clone();
    peer.say(&Control::Identity { id: ids[0].clone(), identity });
    assert!(peer.controls().is_empty(), "an answer to a question of long ago");
}
