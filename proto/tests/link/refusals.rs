//! The failure table of protocol §5: every row, with another pair on the link left alone.

use std::time::Duration;

use heteronym_proto::control::{About, Control, Request};
use heteronym_proto::domain_pair::Delegation;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::suite::KeyType;

use crate::bench::{MINE, Setup, name};
use crate::peer::Scripted;
use crate::vault::Certificate;
use crate::wire::Link;

const AID: [u8; 16] = [9; 16];

/// A link with camoes.lit and sophia.lit active.
fn with_bystander() -> Link {
    bystander(Setup::mine(), Setup::other())
}

fn bystander(mine: Setup, other: Setup) -> Link {
    let mut link = Link::with(mine, other);
    link.activate("sophia.lit", "camoes.lit");
    link
}

/// Has pessoa.lit ask for saramago.lit.
fn ask(link: &mut Link) {
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    link.run();
}

/// The run ended with `refusal`, its stanza with `condition`, and nobody else was hurt.
fn expect_refused(link: &mut Link, refusal: Refusal, condition: Condition) {
    assert_eq!(link.other.refusals(), [refusal], "{:#?}", link.wire);
    assert_eq!(link.other.conditions(), [condition]);
    assert!(!link.mine.is_active("saramago.lit", "pessoa.lit") && !link.other.is_active("pessoa.lit", "saramago.lit"));
    assert_eq!((link.mine.actors(), link.other.actors()), (0, 0));
    link.expect_usable("camoes.lit", "sophia.lit");
}

fn refused(refusal: Refusal) -> Control {
    Control::Refused { about: About::Aid(AID), refusal }
}

#[test]
fn a_malformed_request_is_refused_by_its_id() {
    let mut peer = Scripted::new();
    peer.until_active("sophia.lit", "camoes.lit", [1; 16]);
    peer.show("pessoa.lit", "saramago.lit");
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    let text = crate::bench::xml(&Control::Request(request.clone()));
    for (what, with) in [
        ("responder='saramago.lit'", ""),
        ("responder='saramago.lit'", "responder='192.0.2.1'"),
        ("initiator-cert='", "initiator-cert='00"),
        ("initiator-kem='", "initiator-kem='zz"),
        ("<key>", "<key>!"),
        ("<key>", "<kez>A</kez><key xmlns='urn:x'>"),
    ] {
        let altered = text.replacen(what, with, 1);
        assert_ne!(altered, text);
        peer.raw(&altered);
        assert_eq!(peer.control(), refused(Refusal::Malformed), "{altered}");
    }
    let long = Request { signature: vec![0; 1025], ..request.clone() };
    peer.say(&Control::Request(long));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    peer.say(&Control::Request(request));
    assert!(matches!(peer.control(), Control::Response(_)), "the twin that is well-formed");
}

#[test]
fn a_malformed_element_without_an_id_is_passed_over() {
    let mut peer = Scripted::new();
    for text in [
        "<request xmlns='urn:xmpp:federation:0'/>",
        "<active xmlns='urn:xmpp:federation:0' aid='AQ==' expires='1'/>",
        "<undelivered xmlns='urn:xmpp:federation:0' n='-1' reason='policy'/>",
        "<hold xmlns='urn:xmpp:federation:0' domain='::1'/>",
        "<whatever xmlns='urn:xmpp:federation:0'><more/></whatever>",
        "<refused xmlns='urn:xmpp:federation:0'/>",
    ] {
        peer.raw(text);
        assert!(peer.controls().is_empty(), "{text}");
    }
    assert!(peer.side.closed.is_none());
    peer.until_active("pessoa.lit", "saramago.lit", AID);
}

#[test]
fn refusals_are_not_answered_with_refusals() {
    let mut peer = Scripted::new();
    peer.raw("<refused xmlns='urn:xmpp:federation:0' id='c1'/>");
    peer.raw("<refused xmlns='urn:xmpp:federation:0' aid='AQEBAQEBAQEBAQEBAQEBAQ=='><x xmlns='urn:x'/></refused>");
    assert!(peer.controls().is_empty());
}

#[test]
fn an_element_of_a_later_version_is_refused_by_its_id() {
    let mut peer = Scripted::new();
    peer.raw("<resume-pairs xmlns='urn:xmpp:federation:0' id='r1'>AAAA</resume-pairs>");
    assert_eq!(peer.control(), Control::Refused { about: About::Id("r1".to_owned()), refusal: Refusal::Malformed });
}

#[test]
fn a_domain_that_is_not_hosted_is_unknown() {
    let mut link = with_bystander();
    link.other.send(link.now, "pessoa.lit", "ghost.lit", "1");
    link.run();
    assert_eq!(link.other.refusals(), [Refusal::UnknownDomain]);
    assert_eq!(link.other.conditions(), [Condition::RemoteServerNotFound]);
    assert_eq!(link.count("request"), 0, "it is known from the question for its identity");
    link.expect_usable("camoes.lit", "sophia.lit");
}

#[test]
fn a_request_for_a_domain_that_is_not_hosted_is_refused() {
    let mut peer = Scripted::new();
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(Request { responder: name("ghost.lit"), ..request }));
    assert_eq!(peer.control(), refused(Refusal::UnknownDomain));
    assert!(peer.side.operations.is_empty(), "nobody's key was looked for");
    assert_eq!(peer.side.stream.records().count(), 0, "and nothing is kept of it");
}

#[test]
fn a_denied_domain_is_refused_by_policy() {
    let mut mine = Setup::mine();
    mine.denied.push("pessoa.lit");
    let mut link = bystander(mine, Setup::other());
    ask(&mut link);
    expect_refused(&mut link, Refusal::Policy, Condition::NotAllowed);
}

#[test]
fn one_of_our_own_domains_cannot_be_the_initiators() {
    let mut peer = Scripted::new();
    peer.show("pessoa.lit", "saramago.lit");
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(Request { initiator: name("camoes.lit"), ..request }));
    assert_eq!(peer.control(), refused(Refusal::Policy));
    let mut identity = peer.own("pessoa.lit").identity.clone();
    identity.domain = name("camoes.lit");
    let question = heteronym_proto::control::IdentityRequest {
        id: "q".to_owned(),
        domain: name("saramago.lit"),
        have: None,
        identity,
    };
    peer.say(&Control::IdentityRequest(question));
    assert_eq!(peer.control(), Control::Refused { about: About::Id("q".to_owned()), refusal: Refusal::Policy });
}

#[test]
fn a_suite_that_is_unknown_is_refused() {
    let mut link = with_bystander();
    link.tamper = Some(Box::new(|_, text| {
        let altered = text.replacen("responder-suite='rsa-pss-sha256+rsa-oaep-sha256'", "responder-suite='rot13'", 1);
        (altered != text).then(|| vec![altered])
    }));
    ask(&mut link);
    expect_refused(&mut link, Refusal::UnsupportedSuite, Condition::NotAuthorized);
}

#[test]
fn a_stale_certificate_is_asked_for_again_once() {
    let mut link = Link::acquainted();
    let renewed = link.mine.vault.certificate("saramago.lit").renewed();
    link.mine.vault.replace(renewed);
    link.wire.clear();
    ask(&mut link);
    assert_eq!(link.mine.bodies(), ["1"]);
    assert_eq!((link.count("identity-request"), link.count("request")), (1, 2));
    assert_eq!(link.other.refusals(), [], "nobody is told of the first try");
}

#[test]
fn a_stale_kem_key_is_asked_for_again_without_the_chain() {
    let mut link = Link::acquainted();
    link.mine.vault.renew_kems();
    link.wire.clear();
    link.other.send(link.now, "sophia.lit", "camoes.lit", "1");
    link.run();
    assert_eq!(link.mine.bodies(), ["1"]);
    let answer = link.wire.iter().find(|(from, text)| *from == MINE && text.starts_with("<identity "));
    assert!(answer.is_some_and(|(_, text)| !text.contains("x509") && text.contains("<kem")));
}

/// The twin of the above: while the key before the current one is kept, whoever knows no other is served.
#[test]
fn a_former_kem_key_is_served_at_once() {
    let mut link = Link::acquainted();
    link.mine.vault.rotate_kems();
    link.wire.clear();
    link.other.send(link.now, "sophia.lit", "camoes.lit", "1");
    link.run();
    assert_eq!(link.mine.bodies(), ["1"]);
    assert_eq!((link.count("identity-request"), link.count("request"), link.count("refused")), (0, 1, 0));
}

#[test]
fn a_kem_key_before_the_former_one_is_stale() {
    let mut link = Link::acquainted();
    link.mine.vault.rotate_kems();
    link.mine.vault.rotate_kems();
    link.wire.clear();
    link.other.send(link.now, "sophia.lit", "camoes.lit", "1");
    link.run();
    assert_eq!(link.mine.bodies(), ["1"]);
    assert_eq!((link.count("identity-request"), link.count("request"), link.count("refused")), (1, 2, 1));
}

#[test]
fn a_certificate_of_ours_that_was_renewed_is_shown_before_it_is_used() {
    let mut link = Link::acquainted();
    let renewed = link.other.vault.certificate("pessoa.lit").renewed();
    link.other.vault.replace(renewed);
    link.wire.clear();
    ask(&mut link);
    assert_eq!(link.mine.bodies(), ["1"]);
    assert_eq!((link.count("identity-request"), link.count("request")), (1, 1));
}

#[test]
fn a_certificate_that_is_stale_twice_is_a_refusal() {
    let mut link = with_bystander();
    link.tamper = Some(Box::new(|_, text| {
        let altered = text.replacen("responder-cert='", "responder-cert='0000", 1);
        let at = altered.find("responder-cert='").filter(|_| altered != text)? + "responder-cert='".len();
        Some(vec![altered[..at + 64].to_owned() + &altered[at + 68..]])
    }));
    ask(&mut link);
    assert_eq!(link.count("request"), 2);
    expect_refused(&mut link, Refusal::StaleIdentity, Condition::RemoteServerTimeout);
}

#[test]
fn a_responder_that_never_saw_the_initiator_asks_to_be_shown_it() {
    let mut peer = Scripted::new();
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), refused(Refusal::StaleIdentity));
    peer.until_active("pessoa.lit", "saramago.lit", AID);
}

#[test]
fn a_question_that_was_refused_has_shown_nothing() {
    let mut link = with_bystander();
    link.other.send(link.now, "pessoa.lit", "ghost.lit", "1");
    link.run();
    link.wire.clear();
    link.other.send(link.now, "pessoa.lit", "camoes.lit", "2");
    link.run();
    assert_eq!(link.mine.bodies(), ["2"]);
    assert_eq!((link.count("identity-request"), link.count("request")), (1, 1), "no run was wasted");
}

#[test]
fn an_untrusted_initiator_is_refused() {
    let mut link = with_bystander();
    link.mine.vault.untrusted.insert(name("pessoa.lit"));
    ask(&mut link);
    expect_refused(&mut link, Refusal::UntrustedCertificate, Condition::NotAuthorized);
}

#[test]
fn an_untrusted_responder_is_not_asked() {
    let mut link = with_bystander();
    link.other.vault.untrusted.insert(name("saramago.lit"));
    ask(&mut link);
    assert_eq!(link.count("request"), 0);
    expect_refused(&mut link, Refusal::UntrustedCertificate, Condition::NotAuthorized);
}

#[test]
fn a_certificate_that_has_ended_is_refused() {
    let mut other = Setup::other();
    other.domains[0] = Certificate::new("pessoa.lit", KeyType::P256).ending(crate::bench::UNIX - 1);
    let mut link = bystander(Setup::mine(), other);
    link.other.vault.shows_ended = true;
    ask(&mut link);
    expect_refused(&mut link, Refusal::UntrustedCertificate, Condition::NotAuthorized);
}

/// It was good when it was judged: the verdict ends with it, in either role.
#[test]
fn a_certificate_that_has_ended_since_is_refused() {
    let mut other = Setup::other();
    other.domains[0] = Certificate::new("pessoa.lit", KeyType::P256).ending(crate::bench::UNIX + 3600);
    let mut link = bystander(Setup::mine(), other);
    link.other.vault.shows_ended = true;
    link.activate("pessoa.lit", "saramago.lit");
    link.advance(Duration::from_secs(3600 + 61));
    ask(&mut link);
    assert_eq!(link.other.refusals().last(), Some(&Refusal::UntrustedCertificate));
    assert_eq!(link.other.conditions(), [Condition::NotAuthorized]);
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "2");
    link.run();
    assert_eq!(link.mine.conditions(), [Condition::NotAuthorized]);
    assert!(link.other.bodies().is_empty(), "nothing goes to whom nobody vouches for any more");
}

#[test]
fn trust_that_was_mended_counts_after_a_minute() {
    let mut link = with_bystander();
    link.mine.vault.untrusted.insert(name("pessoa.lit"));
    ask(&mut link);
    link.mine.vault.untrusted.clear();
    link.advance(Duration::from_secs(61));
    ask(&mut link);
    assert_eq!(link.mine.bodies(), ["1"]);
}

#[test]
fn a_domain_that_does_not_delegate_to_the_peer_is_refused_before_decryption() {
    let mut link = with_bystander();
    link.mine.delegations.insert(name("pessoa.lit"), Delegation::Elsewhere("not here".to_owned()));
    link.mine.operations.clear();
    ask(&mut link);
    assert!(!link.mine.operations.contains(&"open"));
    expect_refused(&mut link, Refusal::NotDelegated, Condition::NotAuthorized);
}

#[test]
fn a_forged_signature_is_refused_before_anybody_is_looked_up() {
    let mut link = with_bystander();
    link.other.vault.forging.insert(name("pessoa.lit"));
    link.mine.operations.clear();
    ask(&mut link);
    assert!(!link.mine.operations.contains(&"look up") && !link.mine.operations.contains(&"open"));
    expect_refused(&mut link, Refusal::BadProof, Condition::NotAuthorized);
}

#[test]
fn a_look_up_that_fails_is_busy_and_the_stanzas_wait() {
    let mut link = with_bystander();
    link.mine.delegations.insert(name("pessoa.lit"), Delegation::Unknown("SERVFAIL".to_owned()));
    ask(&mut link);
    assert_eq!(link.other.refusals(), [Refusal::Busy(5)]);
    assert!(link.other.bounced.is_empty());
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "2");
    link.advance(Duration::from_secs(4));
    assert_eq!(link.count("request"), 1, "the initiator paces itself");
    link.mine.delegations.clear();
    link.advance(Duration::from_secs(2));
    assert_eq!(link.count("request"), 2);
    assert_eq!(link.mine.bodies(), ["1", "2"]);
    link.expect_usable("camoes.lit", "sophia.lit");
}

#[test]
fn a_peer_that_stays_busy_costs_the_stanzas_their_time() {
    let mut link = with_bystander();
    link.mine.delegations.insert(name("pessoa.lit"), Delegation::Unknown("SERVFAIL".to_owned()));
    ask(&mut link);
    link.advance(Duration::from_secs(29));
    assert!(link.other.bounced.is_empty());
    link.advance(Duration::from_secs(2));
    assert_eq!(link.other.conditions(), [Condition::RemoteServerTimeout]);
    let requests = link.count("request");
    assert!((5..=7).contains(&requests), "one in five seconds: {requests}");
    link.advance(Duration::from_secs(60));
    assert_eq!(link.count("request"), requests, "nothing is asked for where nothing waits");
}

#[test]
fn a_request_over_the_budget_is_busy() {
    let mut mine = Setup::mine();
    mine.limits.activations_per_second = 1;
    let mut peer = Scripted::with(mine);
    peer.until_active("sophia.lit", "camoes.lit", [1; 16]);
    peer.show("pessoa.lit", "saramago.lit");
    for n in 2..=5 {
        let (_, request) = peer.request("pessoa.lit", "saramago.lit", [n; 16]);
        peer.say(&Control::Request(request));
        assert!(matches!(peer.control(), Control::Response(_)), "the burst is five seconds' worth");
    }
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(request.clone()));
    assert_eq!(peer.control(), refused(Refusal::Busy(1)));
    peer.advance(Duration::from_secs(1));
    peer.say(&Control::Request(request));
    assert!(matches!(peer.control(), Control::Response(_)));
    peer.raw("<message from='u@sophia.lit' to='v@camoes.lit'/>");
    assert_eq!(peer.side.delivered.len(), 1);
}

#[test]
fn a_busy_peer_is_not_asked_before_its_time() {
    let mut peer = Scripted::new();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    peer.say(&Control::Refused { about: About::Aid(request.aid), refusal: Refusal::Busy(20) });
    peer.advance(Duration::from_secs(19));
    assert!(peer.controls().is_empty());
    peer.advance(Duration::from_secs(2));
    assert!(matches!(peer.control(), Control::Request(_)));
}

#[test]
fn a_refusal_is_remembered_for_a_minute() {
    let mut link = with_bystander();
    link.other.send(link.now, "pessoa.lit", "ghost.lit", "1");
    link.run();
    link.wire.clear();
    link.advance(Duration::from_secs(59));
    link.other.send(link.now, "pessoa.lit", "ghost.lit", "2");
    link.run();
    assert_eq!(link.wire, [], "nobody is asked");
    assert_eq!(link.other.bounced.len(), 2);
    link.advance(Duration::from_secs(2));
    link.other.send(link.now, "pessoa.lit", "ghost.lit", "3");
    link.run();
    assert_eq!(link.count("identity-request"), 1);
    assert_eq!(link.other.bounced.len(), 3);
}

#[test]
fn what_the_peer_refused_it_may_still_ask_for() {
    let mut link = with_bystander();
    link.mine.delegations.insert(name("pessoa.lit"), Delegation::Elsewhere(String::new()));
    ask(&mut link);
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "2");
    link.run();
    assert_eq!(link.other.bodies(), ["2"], "a run of ours is another question");
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_domain_of_ours_without_a_key_is_unknown_to_the_peer() {
    let mut other = Setup::other();
    other.domains.push(Certificate::new("mute.lit", KeyType::P256));
    let mut link = bystander(Setup::mine(), other);
    link.other.vault.remove("mute.lit");
    link.mine.send(link.now, "saramago.lit", "mute.lit", "1");
    link.run();
    assert_eq!(link.mine.refusals(), [Refusal::UnknownDomain]);
    link.other.send(link.now, "mute.lit", "saramago.lit", "2");
    link.run();
    assert_eq!(link.other.refusals(), [Refusal::UnknownDomain]);
    assert_eq!(link.other.conditions(), [Condition::InternalServerError], "nothing is wrong with saramago.lit");
    link.expect_usable("camoes.lit", "sophia.lit");
}
