//! What happens when nothing happens: renewal, expiry, time-outs.

use std::time::Duration;

use heteronym_proto::control::{About, Control};
use heteronym_proto::now::Now;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use heteronym_proto::suite::KeyType;

use crate::bench::{MINE, OTHER, Setup, UNIX, name, pair};
use crate::peer::Scripted;
use crate::vault::Certificate;
use crate::wire::Link;

const AID: [u8; 16] = [9; 16];
const HOUR: Duration = Duration::from_secs(3600);

fn with_lifetimes(mine: Duration, other: Duration) -> Link {
    let (mut ours, mut theirs) = (Setup::mine(), Setup::other());
    (ours.lifetime, theirs.lifetime) = (mine, other);
    let mut link = Link::with(ours, theirs);
    link.activate("pessoa.lit", "saramago.lit");
    link
}

fn expires(link: &mut Link) -> (u64, u64) {
    let end = |record: &heteronym_proto::pairs::PairRecord| record.active.as_ref().map_or(0, |active| active.expires);
    (end(link.mine.record("saramago.lit", "pessoa.lit")), end(link.other.record("pessoa.lit", "saramago.lit")))
}

#[test]
fn a_pair_is_renewed_before_its_end_while_stanzas_flow() {
    let mut link = with_lifetimes(10 * HOUR, 10 * HOUR);
    let before = expires(&mut link);
    for n in 0..600 {
        link.other.send(link.now, "pessoa.lit", "saramago.lit", &n.to_string());
        link.mine.send(link.now, "saramago.lit", "pessoa.lit", &n.to_string());
        link.run();
        link.advance(Duration::from_secs(60));
    }
    let expected: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    assert_eq!(link.mine.bodies(), expected);
    assert_eq!(link.other.bodies(), expected);
    assert_eq!((link.count("request"), link.count("undelivered"), link.count("deactivate")), (1, 0, 0));
    assert!(link.sent_by(OTHER).contains(&"request"), "who asked renews");
    let after = expires(&mut link);
    assert!(after.0 >= before.0 + 8 * 3600 && after.1 >= before.1 + 8 * 3600, "{before:?} {after:?}");
    // The end of what was renewed is none of what came after it.
    link.advance(HOUR);
    assert_eq!(link.count("deactivate"), 0);
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_renewal_swaps_without_a_gap_in_either_direction() {
    let mut link = with_lifetimes(10 * HOUR, 10 * HOUR);
    // The renewal is cut into its elements, with a stanza each way at every step.
    link.now = crate::bench::later(link.now, 9 * HOUR);
    link.other.timeout(link.now);
    let mut sent = 0;
    while link.carry(OTHER) | link.carry(MINE) {
        if sent < 8 {
            link.other.send(link.now, "pessoa.lit", "saramago.lit", &sent.to_string());
            link.mine.send(link.now, "saramago.lit", "pessoa.lit", &sent.to_string());
            sent += 1;
        }
    }
    assert_eq!(link.count("active"), 1);
    assert_eq!((link.mine.delivered.len(), link.other.delivered.len()), (8, 8));
    assert_eq!(link.count("undelivered"), 0);
}

#[test]
fn the_responder_renews_where_the_initiator_does_not() {
    let mut peer = Scripted::new();
    peer.until_active("pessoa.lit", "saramago.lit", AID);
    peer.advance(Duration::from_secs(12 * 3600 * 96 / 100));
    assert!(peer.controls().is_empty());
    peer.advance(Duration::from_secs(12 * 3600 * 2 / 100));
    assert!(matches!(peer.controls()[0], Control::IdentityRequest(_)));
}

#[test]
fn a_renewal_that_failed_is_tried_again_before_the_end() {
    let mut link = with_lifetimes(10 * HOUR, 10 * HOUR);
    let busy = heteronym_proto::domain_pair::Delegation::Unknown("SERVFAIL".to_owned());
    link.mine.delegations.insert(name("pessoa.lit"), busy);
    link.advance(9 * HOUR + HOUR / 4);
    assert!(link.other.refusals().len() > 1);
    assert!(link.mine.is_active("saramago.lit", "pessoa.lit"), "what is in force stays so");
    link.mine.delegations.clear();
    let before = expires(&mut link);
    link.advance(Duration::from_secs(60));
    assert!(expires(&mut link).0 > before.0);
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_renewal_that_is_refused_leaves_the_pair_until_its_end() {
    let mut link = with_lifetimes(10 * HOUR, 10 * HOUR);
    for vault in [&mut link.mine.vault, &mut link.other.vault] {
        vault.untrusted.extend([name("pessoa.lit"), name("saramago.lit")]);
        vault.renew_kems();
    }
    let (mine, other) =
        (link.mine.vault.certificate("saramago.lit").renewed(), link.other.vault.certificate("pessoa.lit").renewed());
    link.mine.vault.replace(mine);
    link.other.vault.replace(other);
    link.advance(9 * HOUR + HOUR / 2);
    link.expect_usable("saramago.lit", "pessoa.lit");
    link.advance(HOUR);
    assert!(!link.mine.is_active("saramago.lit", "pessoa.lit") && !link.other.is_active("pessoa.lit", "saramago.lit"));
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "late");
    link.run();
    assert_eq!(link.other.conditions(), [Condition::NotAuthorized]);
}

#[test]
fn the_earlier_end_of_both_sides_counts() {
    for (mine, other) in [(2 * HOUR, 10 * HOUR), (10 * HOUR, 2 * HOUR)] {
        let mut link = with_lifetimes(mine, other);
        let ends = expires(&mut link);
        assert_eq!(ends.1, UNIX + 2 * 3600);
        // Nobody can renew: the pair ends on both sides, whoever knows the earlier end.
        link.mine.vault.remove("saramago.lit");
        link.other.vault.remove("pessoa.lit");
        link.advance(2 * HOUR + Duration::from_secs(1));
        assert!(!link.mine.is_active("saramago.lit", "pessoa.lit"));
        assert!(!link.other.is_active("pessoa.lit", "saramago.lit"));
        assert!(
            !link.mine.is_routed("saramago.lit", "pessoa.lit") && !link.other.is_routed("pessoa.lit", "saramago.lit")
        );
    }
}

#[test]
fn no_activation_outlives_a_certificate() {
    let mut other = Setup::other();
    other.domains[0] = Certificate::new("pessoa.lit", KeyType::P256).ending(UNIX + 3600);
    let mut link = Link::with(Setup::mine(), other);
    link.activate("pessoa.lit", "saramago.lit");
    assert_eq!(expires(&mut link), (UNIX + 3600, UNIX + 3600));
    link.advance(HOUR + Duration::from_secs(1));
    assert!(!link.mine.is_active("saramago.lit", "pessoa.lit") && !link.other.is_active("pessoa.lit", "saramago.lit"));
    let runs = link.count("request");
    assert!(runs < 20, "renewals that change nothing end: {runs}");
}

/// Whichever of the two it is, both hosts end the pair then and say so; whose it was knows why.
#[test]
fn the_end_of_a_certificate_ends_its_pairs() {
    for ended in ["pessoa.lit", "saramago.lit"] {
        let (mut mine, mut other) = (Setup::mine(), Setup::other());
        for domain in mine.domains.iter_mut().chain(&mut other.domains).filter(|one| one.domain().as_str() == ended) {
            *domain = domain.clone().ending(UNIX + 3600);
        }
        let mut link = Link::with(mine, other);
        link.activate("pessoa.lit", "saramago.lit");
        link.activate("sophia.lit", "camoes.lit");
        link.advance(HOUR - Duration::from_secs(1));
        link.expect_usable("saramago.lit", "pessoa.lit");
        link.wire.clear();
        link.advance(Duration::from_secs(3));
        assert!(!link.mine.is_active("saramago.lit", "pessoa.lit"), "{ended}");
        assert!(!link.other.is_active("pessoa.lit", "saramago.lit"), "{ended}");
        let said = link.wire.iter().filter(|(_, text)| text.contains("<deactivate ") && text.contains("'expired'"));
        assert_ne!(said.count(), 0, "{:?}", link.wire);
        let ours = link.mine.record("saramago.lit", "pessoa.lit").last_error().map(str::to_owned).expect("a reason");
        let theirs = link.other.record("pessoa.lit", "saramago.lit").last_error().map(str::to_owned).expect("a reason");
        let whose = if ended == "saramago.lit" { ours } else { theirs };
        assert!(whose.contains("certificate"), "{whose}");
        link.expect_usable("camoes.lit", "sophia.lit");
    }
}

/// RFC 6120 §13.7.2.3.
#[test]
fn the_end_of_the_peer_hosts_certificate_ends_the_link() {
    let mut link = Link::new();
    link.activate("pessoa.lit", "saramago.lit");
    link.mine.stream.end_with_certificate(link.now, UNIX + 3600);
    link.advance(HOUR);
    assert_eq!(link.mine.closed, None, "its last second is good");
    link.advance(Duration::from_secs(1));
    let expected = StreamError::new(StreamCondition::Reset, "the certificate of xmpp.other.isp has ended");
    assert_eq!(link.mine.closed, Some(Some(expected)));
    assert!(link.mine.stream.deadline().is_none_or(|at| at > link.now.instant), "said once");
}

#[test]
fn a_stanza_after_the_end_of_a_certificate_comes_back_with_whose_it_was() {
    let mut other = Setup::other();
    other.domains[0] = Certificate::new("pessoa.lit", KeyType::P256).ending(UNIX + 3600);
    let mut link = Link::with(Setup::mine(), other);
    link.activate("pessoa.lit", "saramago.lit");
    link.advance(HOUR + Duration::from_secs(60));
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "2");
    link.run();
    assert_eq!(link.other.conditions(), [Condition::InternalServerError]);
    assert_eq!(link.mine.conditions(), [Condition::RemoteServerNotFound]);
    let why = link.other.record("pessoa.lit", "saramago.lit").last_error().map(str::to_owned);
    assert_eq!(why.as_deref(), Some("the certificate of pessoa.lit has ended"));
}

#[test]
fn a_run_that_outlasts_a_certificate_proves_nothing_to_the_responder() {
    let mut peer = Scripted::new();
    peer.vault.replace(Certificate::new("pessoa.lit", KeyType::P256).ending(UNIX + 10));
    let activate = peer.until_response("pessoa.lit", "saramago.lit", AID);
    peer.advance(Duration::from_secs(11));
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), Control::Refused { about: About::Aid(AID), refusal: Refusal::UntrustedCertificate });
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
}

#[test]
fn a_run_that_outlasts_a_certificate_proves_nothing_to_the_initiator() {
    let mut peer = Scripted::new();
    peer.vault.replace(Certificate::new("pessoa.lit", KeyType::P256).ending(UNIX + 10));
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    peer.advance(Duration::from_secs(11));
    peer.say(&Control::Active { aid: request.aid, expires: u64::MAX });
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
    assert!(!peer.side.is_routed("saramago.lit", "pessoa.lit"), "no stanza goes out any more");
}

#[test]
fn an_end_in_the_past_is_no_activation() {
    for expires in [0, UNIX] {
        let mut peer = Scripted::new();
        let request = peer.until_requested("saramago.lit", "pessoa.lit");
        let (response, _) = peer.response(&request);
        peer.say(&Control::Response(response));
        peer.heard();
        peer.say(&Control::Active { aid: request.aid, expires });
        assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
        assert!(!peer.side.is_routed("saramago.lit", "pessoa.lit"));
        peer.advance(Duration::from_secs(4));
        peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "2");
        assert!(peer.heard().is_empty(), "the peer cannot make us run in circles");
    }
}

#[test]
fn an_end_in_the_far_future_is_ours() {
    let mut peer = Scripted::new();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    peer.say(&Control::Active { aid: request.aid, expires: u64::MAX });
    let active = peer.side.record("saramago.lit", "pessoa.lit").active.as_ref().map(|active| active.expires);
    assert_eq!(active, Some(UNIX + 12 * 3600));
}

#[test]
fn a_lifetime_without_end_does_not_overflow() {
    let (mut mine, mut other) = (Setup::mine(), Setup::other());
    (mine.lifetime, other.lifetime) = (Duration::MAX, Duration::MAX);
    mine.domains[0] = Certificate::new("saramago.lit", KeyType::Rsa).ending(u64::MAX);
    other.domains[0] = Certificate::new("pessoa.lit", KeyType::P256).ending(u64::MAX);
    let mut link = Link::with(mine, other);
    link.activate("pessoa.lit", "saramago.lit");
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn an_answer_that_never_comes_ends_the_run_and_another_begins() {
    let mut peer = Scripted::new();
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
    assert!(matches!(peer.control(), Control::IdentityRequest(_)));
    peer.advance(Duration::from_secs(29));
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "2");
    peer.advance(Duration::from_secs(2));
    assert_eq!(peer.side.refusals(), [Refusal::Busy(5)]);
    assert_eq!(peer.side.conditions(), [Condition::RemoteServerTimeout], "the first has waited long enough");
    assert!(peer.controls().is_empty());
    peer.advance(Duration::from_secs(5));
    assert!(matches!(peer.control(), Control::IdentityRequest(_)));
    assert_eq!(peer.side.actors(), 1);
}

#[test]
fn an_active_that_never_comes_closes_the_pair() {
    let mut peer = Scripted::new();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    assert!(peer.side.is_routed("saramago.lit", "pessoa.lit"));
    peer.heard();
    peer.advance(Duration::from_secs(31));
    assert!(!peer.side.is_routed("saramago.lit", "pessoa.lit"));
    peer.say(&Control::Active { aid: request.aid, expires: u64::MAX });
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"), "too late");
    peer.advance(Duration::from_secs(6));
    assert_eq!(peer.until_requested("saramago.lit", "pessoa.lit").responder, name("pessoa.lit"), "asked again");
}

#[test]
fn an_activate_that_never_comes_frees_the_run_and_our_stanzas_ask() {
    let mut peer = Scripted::new();
    let activate = peer.until_response("pessoa.lit", "saramago.lit", AID);
    peer.advance(Duration::from_secs(20));
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
    assert!(peer.controls().is_empty(), "a run is under way");
    peer.advance(Duration::from_secs(11));
    let controls = peer.controls();
    assert_eq!(controls[0], Control::Refused { about: About::Aid(AID), refusal: Refusal::Busy(5) });
    assert!(matches!(controls[1], Control::IdentityRequest(_)), "{controls:?}");
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), Control::Refused { about: About::Aid(AID), refusal: Refusal::Malformed });
    assert!(peer.side.bounced.is_empty());
}

#[test]
fn a_run_that_is_being_served_ends_in_time() {
    let mut peer = Scripted::new();
    peer.show("pessoa.lit", "saramago.lit");
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.side.frozen = true;
    peer.say(&Control::Request(request));
    peer.advance(Duration::from_secs(31));
    assert_eq!(peer.control(), Control::Refused { about: About::Aid(AID), refusal: Refusal::Busy(5) });
    assert_eq!(peer.side.actors(), 0);
    peer.side.thaw(peer.now);
    assert!(peer.controls().is_empty(), "a result that comes too late is nobody's");
    peer.until_active("pessoa.lit", "saramago.lit", [10; 16]);
}

#[test]
fn a_pair_at_rest_has_one_timer_and_a_link_without_pairs_none() {
    let mut link = Link::active();
    link.advance(Duration::from_secs(120));
    let deadline = link.other.stream.deadline().expect("the renewal");
    let until = deadline - link.now.instant;
    assert!((9 * HOUR..11 * HOUR).contains(&until), "{until:?}");
    let slot = link.other.stream.slot(&pair("pessoa.lit", "saramago.lit"));
    let reason = heteronym_proto::control::DeactivateReason::Idle;
    link.other.act(link.now, |stream, out| stream.deactivate(slot, reason, out));
    link.run();
    assert_eq!((link.mine.stream.deadline(), link.other.stream.deadline()), (None, None));
}

/// The wall clock goes ahead of the timers, and comes back: what was handed back meanwhile is not overtaken.
#[test]
fn an_activation_that_the_clock_has_ended_is_over() {
    let mut link = Link::counted();
    let ahead = Now { unix: link.now.unix + 13 * 3600, ..link.now };
    link.mine.delivered.clear();
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "0");
    let said = link.other.says();
    link.mine.hear(ahead, &said);
    assert!(!link.mine.is_active("saramago.lit", "pessoa.lit"));
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    link.run();
    assert_eq!(link.mine.bodies(), ["0", "1"]);
}

/// Nor does one that goes back let an activation live longer.
#[test]
fn a_clock_that_is_set_back_does_not_put_the_end_off() {
    let mut peer = Scripted::new();
    peer.until_active("pessoa.lit", "saramago.lit", AID);
    let begin = peer.now;
    for (hours, is_active) in [(9, true), (11, true), (12, true), (15, false)] {
        let later = crate::bench::later(begin, Duration::from_secs(hours * 3600));
        peer.now = Now { unix: later.unix - 6 * 3600, ..later };
        peer.side.timeout(peer.now);
        assert_eq!(peer.side.is_active("saramago.lit", "pessoa.lit"), is_active, "after {hours} hours");
    }
}
