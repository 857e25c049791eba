//! Stanzas: what passes, what is handed back by number, and what its sender is told.

use bytes::Bytes;
use heteronym_proto::control::{Control, DeactivateReason, UndeliveredReason};
use heteronym_proto::limits::CONTROL_BYTES;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::Condition as StreamCondition;

use crate::bench::{MINE, Setup, message, name, pair};
use crate::peer::Scripted;
use crate::wire::Link;

const AID: [u8; 16] = [9; 16];

/// Our host with saramago.lit and pessoa.lit active.
fn active() -> Scripted {
    active_with(Setup::mine())
}

fn active_with(setup: Setup) -> Scripted {
    let mut peer = Scripted::with(setup);
    peer.until_active("pessoa.lit", "saramago.lit", AID);
    peer
}

fn undelivered(n: u64, reason: UndeliveredReason) -> Control {
    Control::Undelivered { n, reason }
}

/// A stanza of the active pair goes through, with this number.
fn expect_number(peer: &mut Scripted, n: u64) {
    peer.raw(&message("pessoa.lit", "saramago.lit", "good"));
    assert_eq!(peer.side.delivered.last().map(|(n, _)| *n), Some(n));
    assert!(peer.side.closed.is_none());
}

#[test]
fn a_stanza_of_a_pair_that_is_not_active_is_handed_back() {
    let mut peer = active();
    expect_number(&mut peer, 1);
    for (n, (from, to)) in (2..).zip([
        ("sophia.lit", "saramago.lit"),
        ("pessoa.lit", "camoes.lit"),
        ("pessoa.lit", "ghost.lit"),
        ("stranger.lit", "saramago.lit"),
    ]) {
        peer.raw(&message(from, to, "x"));
        assert_eq!(peer.control(), undelivered(n, UndeliveredReason::PairNotActive), "{from} to {to}");
    }
    expect_number(&mut peer, 6);
}

#[test]
fn a_stanza_from_one_of_our_own_domains_is_handed_back() {
    let mut peer = active();
    for (n, to) in [(1, "saramago.lit"), (2, "pessoa.lit"), (3, "camoes.lit")] {
        peer.raw(&message("camoes.lit", to, "spoofed"));
        assert_eq!(peer.control(), undelivered(n, UndeliveredReason::Policy));
    }
    expect_number(&mut peer, 4);
}

#[test]
fn a_malformed_stanza_is_handed_back_and_the_link_lives() {
    let mut peer = active();
    for (n, stanza) in (1..).zip([
        "<message from='u@pessoa.lit' to='v@saramago.lit'><a></b></message>",
        "<iq from='u@pessoa.lit' to='v@saramago.lit'>&nbsp;</iq>",
        "<presence from='u@pessoa.lit' to='v@saramago.lit'>\u{1}</presence>",
        "<message from='u@pessoa.lit'/>",
        "<message from='u@pessoa.lit' to='@saramago.lit'/>",
        "<p:message xmlns:p='jabber:server' from='u@pessoa.lit' to='v@saramago.lit'/>",
        "<message\n from='u@pessoa.lit' to='v@saramago.lit' to='w@saramago.lit'/>",
    ]) {
        peer.raw(stanza);
        assert_eq!(peer.control(), undelivered(n, UndeliveredReason::Policy), "{stanza}");
    }
    expect_number(&mut peer, 8);
}

#[test]
fn a_malformed_element_that_is_no_stanza_ends_the_stream() {
    for element in [
        "<hold xmlns='urn:xmpp:federation:0' domain='&nbsp;'/>",
        "<messages to='' to=''/>",
        "<m:essage/>",
        "<iquit>\u{1}</iquit>",
    ] {
        let mut peer = active();
        peer.raw(element);
        assert!(matches!(&peer.side.closed, Some(Some(_))), "{element}");
        assert!(peer.controls().is_empty(), "nothing was counted");
    }
}

#[test]
fn a_stanza_that_is_too_large_is_handed_back() {
    let mut setup = Setup::mine();
    setup.limits.stanza_bytes = 10_000;
    let mut peer = active_with(setup);
    // One that the framer keeps, because control elements may be larger, and one that it skips.
    for (n, length) in [(1, 10_000), (2, CONTROL_BYTES)] {
        peer.raw(&message("pessoa.lit", "saramago.lit", &"x".repeat(length)));
        assert_eq!(peer.control(), undelivered(n, UndeliveredReason::TooLarge));
    }
    let fits = 10_000 - message("pessoa.lit", "saramago.lit", "").len();
    peer.raw(&message("pessoa.lit", "saramago.lit", &"x".repeat(fits)));
    assert_eq!(peer.side.delivered.len(), 1);
    expect_number(&mut peer, 4);
}

#[test]
fn a_control_element_that_is_too_large_ends_the_stream() {
    for (limit, length) in [(256 << 10, CONTROL_BYTES), (10_000, CONTROL_BYTES), (256 << 10, 300 << 10)] {
        let mut setup = Setup::mine();
        setup.limits.stanza_bytes = limit;
        let mut peer = active_with(setup);
        peer.raw(&format!("<hold xmlns='urn:xmpp:federation:0' domain='a.lit'>{}</hold>", " ".repeat(length)));
        let closed = peer.side.closed.clone().flatten().map(|error| error.condition);
        assert_eq!(closed, Some(StreamCondition::PolicyViolation), "{length} bytes");
    }
}

#[test]
fn nothing_counts_behind_the_end() {
    let mut peer = active();
    peer.raw("<unknown xmlns='jabber:client'/>");
    assert!(peer.side.closed.is_some());
    peer.raw(&message("pessoa.lit", "saramago.lit", "late"));
    assert!(peer.side.delivered.is_empty());
}

#[test]
fn a_stream_error_ends_the_link_and_says_why() {
    let mut peer = active();
    peer.raw("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>");
    assert_eq!(peer.side.peer_error.as_ref().map(|error| error.condition), Some(StreamCondition::Conflict));
    assert!(matches!(peer.side.closed, Some(None)));
}

#[test]
fn a_spelling_of_a_domain_is_not_another_domain() {
    let mut peer = active();
    peer.raw("<message from='u@PESSOA.lit./r' to='v@Saramago.Lit'/>");
    peer.raw("<message from='u@pess&#x6f;a.lit' to='v@saramago.lit'/>");
    assert_eq!(peer.side.delivered.len(), 2);
    peer.raw("<message from='u@sophia.lit/@pessoa.lit' to='v@saramago.lit'/>");
    assert_eq!(peer.control(), undelivered(3, UndeliveredReason::PairNotActive));
}

#[test]
fn pings_count_on_both_sides() {
    let mut link = Link::active();
    let stanzas = |link: &mut Link| {
        let (mine, other) = (&mut link.mine.stream, &mut link.other.stream);
        ((mine.sent(), other.received()), (other.sent(), mine.received()))
    };
    for n in 0..20 {
        match n % 4 {
            0 => link.mine.act(link.now, |stream, out| stream.probe(out)),
            1 => link.other.act(link.now, |stream, out| stream.probe(out)),
            _ => link.mine.send(link.now, "saramago.lit", "pessoa.lit", "x"),
        }
        if n % 3 == 0 {
            link.run();
        }
    }
    link.other.send(link.now, "pessoa.lit", "camoes.lit", "not active yet");
    link.run();
    let ((sent, received), (back, taken)) = stanzas(&mut link);
    assert_eq!((sent, back), (received, taken));
    assert_eq!((sent, back), (10 + 5 + 5, 1 + 5 + 5 + 1), "stanzas, pings, answers");
    assert_eq!((link.mine.alive, link.other.alive), (5, 5));
}

#[test]
fn what_comes_back_by_number_is_what_was_sent() {
    let mut peer = active();
    peer.side.act(peer.now, |stream, out| stream.probe(out));
    for n in 0..3 {
        peer.side.send(peer.now, "saramago.lit", "pessoa.lit", &n.to_string());
        peer.side.act(peer.now, |stream, out| stream.probe(out));
    }
    let heard = peer.heard();
    let at = 1 + heard.iter().position(|text| text.contains("<body>1<")).expect("written");
    peer.say(&undelivered(at as u64, UndeliveredReason::TooLarge));
    assert_eq!(peer.side.conditions(), [Condition::PolicyViolation]);
    assert!(peer.side.bounced[0].0.contains("<body>1<"));
}

#[test]
fn every_reason_tells_the_sender_its_condition_once() {
    for (reason, condition) in [
        (UndeliveredReason::DomainUnavailable, Condition::RemoteServerTimeout),
        (UndeliveredReason::Overflow, Condition::ResourceConstraint),
        (UndeliveredReason::TooLarge, Condition::PolicyViolation),
        (UndeliveredReason::Policy, Condition::PolicyViolation),
    ] {
        let mut peer = active();
        peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
        assert_eq!(peer.heard().len(), 1);
        peer.say(&undelivered(1, reason));
        assert_eq!(peer.side.conditions(), [condition]);
        for n in [0, 1, 2, u64::MAX] {
            peer.say(&undelivered(n, reason));
        }
        assert_eq!(peer.side.bounced.len(), 1, "twice, or never sent");
        assert!(peer.side.is_active("saramago.lit", "pessoa.lit"));
        expect_number(&mut peer, 1);
    }
}

#[test]
fn a_local_server_that_is_away_is_told_by_number() {
    let mut link = Link::active();
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    link.run();
    link.mine.hand_back(link.now, UndeliveredReason::DomainUnavailable);
    link.run();
    assert_eq!(link.other.conditions(), [Condition::RemoteServerTimeout]);
    assert!(link.other.bounced[0].0.contains("<body>1<"));
}

#[test]
fn a_pair_that_the_peer_forgot_is_proved_again_and_the_stanza_resent() {
    let mut link = Link::active();
    let slot = link.mine.stream.slot(&pair("saramago.lit", "pessoa.lit"));
    // The deactivation is lost, as if the peer had lost its state.
    link.mine.act(link.now, |stream, out| {
        stream.deactivate(slot, DeactivateReason::Idle, out);
    });
    link.mine.says();
    for n in 0..3 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
    }
    link.run();
    assert_eq!(link.count("undelivered"), 3);
    assert_eq!(link.count("request"), 1, "one fresh run for all of them");
    assert_eq!(link.mine.bodies(), ["0", "1", "2"], "in order");
    assert!(link.other.bounced.is_empty());
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_stanza_that_is_not_taken_twice_goes_back() {
    let mut peer = active();
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
    assert_eq!(peer.heard().len(), 1);
    peer.say(&undelivered(1, UndeliveredReason::PairNotActive));
    let request = peer.until_requested_again();
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    let heard = peer.heard();
    assert!(heard[1].contains("<body>1<"));
    peer.say(&Control::Active { aid: request.aid, expires: u64::MAX });
    peer.say(&undelivered(2, UndeliveredReason::PairNotActive));
    assert_eq!(peer.side.conditions(), [Condition::RemoteServerTimeout]);
    assert!(peer.controls().is_empty(), "and no third run");
    assert!(peer.side.closed.is_none());
}

#[test]
fn stanzas_behind_an_activate_that_is_refused_go_back() {
    let mut link = Link::new();
    link.tamper = Some(Box::new(|_, text| {
        let at = text.starts_with("<activate ").then(|| text.find("<confirm>")).flatten()? + 9;
        let confirm = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        Some(vec![text[..at].to_owned() + confirm + &text[at + 1..]])
    }));
    for n in 0..3 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
    }
    link.run();
    assert!(link.mine.delivered.is_empty());
    assert_eq!(link.other.conditions(), [Condition::NotAuthorized; 3]);
    assert!(!link.other.is_routed("pessoa.lit", "saramago.lit"));
}

#[test]
fn a_full_queue_tells_the_sender() {
    let mut other = Setup::other();
    other.limits.pair_queue_bytes = 1000;
    let mut link = Link::with(Setup::mine(), other);
    link.other.frozen = true;
    for n in 0..10 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
    }
    let bounced = link.other.bounced.len();
    assert!((1..10).contains(&bounced));
    assert!(link.other.conditions().iter().all(|condition| *condition == Condition::ResourceConstraint));
    link.other.thaw(link.now);
    link.run();
    assert_eq!(link.mine.delivered.len(), 10 - bounced, "what has waited goes out");
}

#[test]
fn the_queues_of_all_pairs_are_bounded_together() {
    let mut other = Setup::other();
    other.limits.host_queue_bytes = 1000;
    let mut link = Link::with(Setup::mine(), other);
    link.other.frozen = true;
    for n in 0..10 {
        link.other.send(link.now, if n % 2 == 0 { "pessoa.lit" } else { "sophia.lit" }, "saramago.lit", "x");
    }
    assert!(link.other.stream.queued_bytes() <= 1000);
    assert!(!link.other.bounced.is_empty());
}

#[test]
fn a_held_domain_gets_nothing_until_it_may() {
    let mut link = Link::active();
    link.activate("sophia.lit", "saramago.lit");
    link.mine.hear(link.now, &crate::bench::xml(&Control::Hold(name("pessoa.lit"))));
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "1");
    link.mine.send(link.now, "saramago.lit", "sophia.lit", "2");
    link.run();
    assert_eq!(link.other.bodies(), ["2"], "only the held domain waits");
    assert!(link.mine.is_routed("saramago.lit", "pessoa.lit"));
    link.mine.hear(link.now, &crate::bench::xml(&Control::Go(name("pessoa.lit"))));
    link.run();
    assert_eq!(link.other.bodies(), ["2", "1"]);
    assert_eq!(link.count("request"), 0);
}

#[test]
fn what_waits_for_a_held_domain_goes_back_in_time() {
    let mut link = Link::active();
    link.mine.hear(link.now, &crate::bench::xml(&Control::Hold(name("pessoa.lit"))));
    for n in 0..3 {
        link.mine.send(link.now, "saramago.lit", "pessoa.lit", &n.to_string());
        link.advance(std::time::Duration::from_secs(10));
    }
    link.advance(std::time::Duration::from_secs(1));
    assert_eq!(link.mine.bounced.len(), 1, "each after its own thirty seconds");
    link.advance(std::time::Duration::from_secs(20));
    assert_eq!(link.mine.conditions(), [Condition::RemoteServerTimeout; 3]);
}

#[test]
fn a_hold_while_the_activation_is_under_way_counts() {
    let mut peer = Scripted::new();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    peer.side.frozen = true;
    peer.say(&Control::Response(response));
    peer.say(&Control::Hold(name("pessoa.lit")));
    peer.side.thaw(peer.now);
    assert!(matches!(peer.control(), Control::Activate(_)), "and no stanza behind it");
    peer.say(&Control::Active { aid: request.aid, expires: u64::MAX });
    assert!(peer.controls().is_empty());
    peer.say(&Control::Go(name("pessoa.lit")));
    assert_eq!(peer.heard().len(), 1);
}

#[test]
fn a_hold_behind_activate_counts() {
    let mut peer = Scripted::new();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    assert_eq!(peer.heard().len(), 2);
    peer.say(&Control::Hold(name("pessoa.lit")));
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "2");
    assert!(peer.heard().is_empty());
    peer.say(&Control::Go(name("pessoa.lit")));
    assert_eq!(peer.heard().len(), 1);
}

#[test]
fn go_without_hold_opens_nothing() {
    let mut peer = Scripted::new();
    peer.until_requested("saramago.lit", "pessoa.lit");
    peer.say(&Control::Go(name("pessoa.lit")));
    peer.say(&Control::Hold(name("pessoa.lit")));
    peer.say(&Control::Go(name("pessoa.lit")));
    assert!(peer.heard().is_empty(), "the pair is not active");
}

#[test]
fn the_end_of_a_link_hands_back_what_was_never_written() {
    let mut link = Link::active();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "written");
    assert!(link.mine.says().contains("written"));
    link.mine.frozen = true;
    for n in 0..3 {
        link.mine.send(link.now, "saramago.lit", "pessoa.lit", &n.to_string());
        link.mine.send(link.now, "camoes.lit", "pessoa.lit", &n.to_string());
    }
    let waiting = link.mine.stream.take_waiting();
    let expected = |from: &str| (0..3).map(|n| Bytes::from(message(from, "pessoa.lit", &n.to_string()))).collect();
    let expected: Vec<Vec<Bytes>> = vec![expected("saramago.lit"), expected("camoes.lit")];
    assert_eq!(waiting.iter().map(|(_, stanzas)| stanzas.clone()).collect::<Vec<_>>(), expected);
    assert!(link.mine.stream.take_waiting().is_empty());
    assert_eq!(link.mine.stream.queued_bytes(), 0);
}

#[test]
fn a_stream_is_closed_behind_the_stanzas_of_active_pairs() {
    let mut link = Link::active();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "out");
    link.mine.send(link.now, "camoes.lit", "pessoa.lit", "waits");
    link.mine.act(link.now, |stream, out| stream.close(None, out));
    assert!(link.mine.stream.has_work());
    let written = link.mine.says();
    assert!(written.find("out").expect("written") < written.find("</stream:stream>").expect("written"));
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "late");
    assert!(!link.mine.stream.has_work());
    assert_eq!(link.mine.says(), "", "nothing is behind the end");
    let waiting: Vec<usize> = link.mine.stream.take_waiting().iter().map(|(_, stanzas)| stanzas.len()).collect();
    assert_eq!(waiting, [1, 1]);
}

#[test]
fn a_stream_error_is_not_held_up_by_stanzas() {
    let mut link = Link::active();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "waits");
    let error = StreamCondition::SystemShutdown.into();
    link.mine.act(link.now, |stream, out| stream.close(Some(&error), out));
    let written = link.mine.says();
    assert!(written.starts_with("<stream:error>") && written.ends_with("</stream:stream>"));
    assert!(!link.mine.stream.has_work());
    assert_eq!(link.mine.stream.take_waiting().len(), 1);
}

#[test]
fn stanzas_are_mended_for_the_local_server() {
    let mut link = Link::active();
    link.mine.hear(link.now, "<message xmlns='jabber:server' from='u@pessoa.lit' to='v@saramago.lit'/>");
    assert_eq!(link.mine.delivered[0].1, "<message from='u@pessoa.lit' to='v@saramago.lit'/>");
}

#[test]
fn stanzas_between_hosts_are_answered_or_refused() {
    let mut peer = active();
    let other = crate::bench::OTHER;
    peer.raw(&format!("<iq from='{other}' to='{MINE}' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"));
    peer.raw(&format!(
        "<iq from='{other}' to='{MINE}' type='get' id='2'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    ));
    peer.raw(&format!("<iq from='{other}' to='{MINE}' type='set' id='3'><x xmlns='urn:x'/></iq>"));
    peer.raw(&format!("<message from='{other}' to='{MINE}' type='error'/>"));
    peer.raw(&format!("<iq from='{other}' to='{MINE}' type='result' id='5'/>"));
    let heard = peer.heard();
    assert_eq!(heard.len(), 3);
    assert!(heard[0].contains("type='result'") && heard[1].contains("urn:xmpp:federation:0"));
    assert!(heard[2].contains("type='error'"));
    expect_number(&mut peer, 6);
}

#[test]
fn an_activation_that_has_ended_takes_no_stanzas_even_before_its_timer() {
    let mut peer = active();
    peer.now = crate::bench::later(peer.now, std::time::Duration::from_secs(12 * 3600));
    peer.raw(&message("pessoa.lit", "saramago.lit", "late"));
    let controls = peer.controls();
    assert!(matches!(controls[0], Control::Deactivate { reason: DeactivateReason::Expired, .. }), "{controls:?}");
    assert_eq!(controls[1..], [undelivered(1, UndeliveredReason::PairNotActive)]);
}

/// A pair is deactivated while stanzas are under way, and active again before they are handed back: what is newer
/// does not overtake them.
#[test]
fn what_is_newer_waits_for_what_is_under_way_when_a_pair_is_activated_afresh() {
    let mut link = Link::counted();
    let now = link.now;
    let (ours, theirs) = ("saramago.lit", "pessoa.lit");
    link.mine.delivered.clear();
    link.other.send(now, theirs, ours, "0");
    let under_way = link.other.says();
    link.mine.act(now, |stream, out| {
        let slot = stream.slot(&pair(ours, theirs));
        stream.deactivate(slot, DeactivateReason::Idle, out);
    });
    link.mine.send(now, ours, theirs, "back");
    // The run goes on, and "0" is still on its way.
    while link.carry(MINE) {
        let said = link.other.says();
        if said.contains("<active ") {
            assert!(!said.contains("<body>"), "{said}");
            link.other.send(now, theirs, ours, "1");
            assert!(!link.other.says().contains("<body>1<"), "it waits");
            link.mine.hear(now, &under_way);
        }
        link.mine.hear(now, &said);
    }
    link.run();
    assert_eq!(link.mine.bodies(), ["0", "1"]);
}
