//! What the router does when it is the one that asks: it retries what can be retried, waits where it
//! is told to, trusts nobody too early, and tells its user how it ended.

use heteronym::demo::authority::{KeyKind, Request};
use heteronym_proto::control::{About, Control, Response, UndeliveredReason};
use heteronym_proto::identity::Identity;
use heteronym_proto::pairs::PairState;
use heteronym_proto::refusal::Refusal;

use crate::support::stage::{Stage, World};

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";

/// The only pair of the two domains, and how far it is once everything sent before has had its effect.
async fn states(stage: &mut Stage) -> Vec<PairState> {
    stage.talk().await;
    let pairs = stage.world.router.pairs("saramago.lit", "pessoa.lit").await;
    pairs.iter().map(|pair| pair.state).collect()
}

#[tokio::test]
async fn a_stale_identity_is_asked_for_again_and_the_request_retried() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    stage.pessoa.renew_kem();
    stage.link.refuse(About::Aid(request.aid), Refusal::StaleIdentity).await;
    let aid = stage.link.serve(&stage.pessoa).await;
    assert_ne!(aid, request.aid);
    stage.link.expect("out").await;
    stage.end().await;
}

#[tokio::test]
async fn a_stale_identity_is_retried_once_and_not_for_ever() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    for _ in 0..2 {
        stage.link.show(&stage.pessoa).await;
        let request = stage.link.hear_request().await;
        stage.link.refuse(About::Aid(request.aid), Refusal::StaleIdentity).await;
    }
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

#[tokio::test]
async fn a_busy_host_is_asked_again_and_the_stanza_arrives() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    for _ in 0..2 {
        let request = stage.link.hear_request().await;
        stage.link.refuse(About::Aid(request.aid), Refusal::Busy(1)).await;
        stage.talk().await;
    }
    stage.link.serve_request(&stage.pessoa, &theirs).await;
    stage.link.expect("out").await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_is_busy_for_too_long_is_a_timeout() {
    let mut stage = Stage::on(World::configured("[limits]\nstanza_wait = '2s'").await).await;
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    stage.link.refuse(About::Aid(request.aid), Refusal::Busy(600)).await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

#[tokio::test]
async fn each_refusal_is_told_to_the_user_in_its_own_words() {
    let refusals = [
        (Refusal::UnknownDomain, "remote-server-not-found"),
        (Refusal::Policy, "not-allowed"),
        (Refusal::UnsupportedSuite, "not-authorized"),
        (Refusal::UntrustedCertificate, "not-authorized"),
        (Refusal::NotDelegated, "not-authorized"),
        (Refusal::BadProof, "not-authorized"),
        (Refusal::Malformed, "remote-server-timeout"),
    ];
    for (refusal, condition) in refusals {
        let mut stage = Stage::new().await;
        stage.local.tell(JOSE, ANA, "first").await;
        stage.link.show(&stage.pessoa).await;
        let request = stage.link.hear_request().await;
        stage.link.refuse(About::Aid(request.aid), refusal).await;
        stage.local.expect_error("first", condition).await;
        // It is remembered: nobody is asked again so soon.
        stage.local.tell(JOSE, ANA, "second").await;
        stage.local.expect_error("second", condition).await;
        assert_eq!(states(&mut stage).await, [PairState::Refused]);
        stage.end().await;
    }
}

#[tokio::test]
async fn an_identity_that_is_refused_bounces_the_stanza() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let question = stage.link.hear_question().await;
    stage.link.refuse(About::Id(question.id), Refusal::UnknownDomain).await;
    stage.local.expect_error("out", "remote-server-not-found").await;
    stage.end().await;
}

#[tokio::test]
async fn an_identity_that_is_not_trusted_is_not_asked() {
    let mut stage = Stage::new().await;
    let impostor = stage.world.domain_with("pessoa.lit", &Request::new(["campos.lit"], KeyKind::P256));
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.show(&impostor).await;
    stage.local.expect_error("out", "not-authorized").await;
    stage.end().await;
}

#[tokio::test]
async fn an_identity_of_another_domain_than_was_asked_for_is_not_asked() {
    let mut stage = Stage::new().await;
    let campos = stage.world.domain("campos.lit");
    stage.local.tell(JOSE, ANA, "out").await;
    let question = stage.link.hear_question().await;
    let identity: Identity = campos.own.identity.clone();
    stage.link.control(&Control::Identity { id: question.id, identity }).await;
    stage.local.expect_error("out", "not-authorized").await;
    stage.end().await;
}

/// Whatever is wrong with step 3, step 5 does not come, and no stanza goes out.
#[tokio::test]
async fn a_response_without_a_proof_is_not_activated() {
    let changes: [fn(&mut Response); 3] = [
        |response| *response.signature.last_mut().unwrap() ^= 1,
        |response| response.key[40] ^= 1,
        |response| response.confirm[0] ^= 1,
    ];
    for change in changes {
        let mut stage = Stage::new().await;
        stage.local.tell(JOSE, ANA, "out").await;
        let theirs = stage.link.show(&stage.pessoa).await;
        let request = stage.link.hear_request().await;
        let about = About::Aid(request.aid);
        let mut answering = stage.link.answering(&stage.pessoa, &theirs, request);
        change(&mut answering.response);
        stage.link.control(&Control::Response(answering.response)).await;
        stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
        stage.local.expect_error("out", "not-authorized").await;
        assert_eq!(states(&mut stage).await, [PairState::Refused]);
        stage.end().await;
    }
}

/// The response of one run proves nothing in another, be it of the same pair.
#[tokio::test]
async fn a_response_to_an_earlier_request_is_not_activated() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let first = stage.link.hear_request().await;
    let mut replayed = stage.link.answering(&stage.pessoa, &theirs, first.clone());
    stage.link.refuse(About::Aid(first.aid), Refusal::Busy(1)).await;
    let second = stage.link.hear_request().await;
    replayed.response.aid = second.aid;
    stage.link.control(&Control::Response(replayed.response)).await;
    stage.link.expect_refused(&About::Aid(second.aid), "not-authorized", "bad-proof").await;
    stage.local.expect_error("out", "not-authorized").await;
    stage.end().await;
}

#[tokio::test]
async fn what_was_sent_behind_an_activate_that_is_refused_comes_back() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    let aid = request.aid;
    let answering = stage.link.answering(&stage.pessoa, &theirs, request);
    stage.link.control(&Control::Response(answering.response)).await;
    let activate = stage.link.hear_control().await;
    assert!(matches!(activate, Control::Activate(_)), "{activate:?}");
    let n = stage.link.expect("out").await;
    stage.link.refuse(About::Aid(aid), Refusal::BadProof).await;
    stage.link.control(&Control::Undelivered { n, reason: UndeliveredReason::PairNotActive }).await;
    stage.local.expect_error("out", "not-authorized").await;
    stage.end().await;
}

/// The pair is the peer's as well only from `<active/>` on: before it nothing of the peer's passes.
#[tokio::test]
async fn a_stanza_before_active_is_not_taken() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    let aid = request.aid;
    let answering = stage.link.answering(&stage.pessoa, &theirs, request);
    let n = stage.link.tell(ANA, JOSE, "too-early").await;
    stage.link.expect_undelivered(n, UndeliveredReason::PairNotActive).await;
    stage.link.control(&Control::Response(answering.response.clone())).await;
    stage.link.take_activate(aid, &answering).await;
    stage.link.expect("out").await;
    stage.link.tell(ANA, JOSE, "in").await;
    stage.local.expect("in").await;
    stage.end().await;
}

/// The router has the smaller name: it refuses, and goes on with its own.
#[tokio::test]
async fn glare_with_a_larger_host_ends_with_the_routers_own_request() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), "conflict", "glare").await;
    stage.link.answer(&stage.pessoa, &theirs, request).await;
    stage.link.expect("out").await;
    assert_eq!(states(&mut stage).await, [PairState::Active]);
    stage.end().await;
}

/// The peer host has the smaller name: the router drops its own request and serves.
#[tokio::test]
async fn glare_with_a_smaller_host_ends_with_the_peers_request() {
    for refusal_comes_first in [true, false] {
        let mut stage = Stage::on(World::decided_by_peer().await).await;
        stage.local.tell(JOSE, ANA, "out").await;
        let theirs = stage.link.show(&stage.pessoa).await;
        let request = stage.link.hear_request().await;
        let asking = stage.link.asking(&stage.pessoa, &theirs);
        let refused = Control::Refused { about: About::Aid(request.aid), refusal: Refusal::Glare };
        let mut both = [refused, Control::Request(asking.request.clone())];
        if !refusal_comes_first {
            both.reverse();
        }
        for control in &both {
            stage.link.control(control).await;
        }
        let response = stage.link.hear_response(asking.request.aid).await;
        let activate = asking.conclude(&stage.pessoa, response);
        let aid = activate.aid;
        stage.link.control(&Control::Activate(activate)).await;
        stage.link.expect_active(aid).await;
        stage.link.expect("out").await;
        assert_eq!(states(&mut stage).await, [PairState::Active]);
        stage.end().await;
    }
}

/// Who lost the glare and sees no request in time asks again.
#[tokio::test]
async fn glare_that_leads_nowhere_is_asked_again() {
    let mut stage = Stage::on(World::decided_by_peer().await).await;
    stage.local.tell(JOSE, ANA, "out").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    stage.link.refuse(About::Aid(request.aid), Refusal::Glare).await;
    stage.link.serve_request(&stage.pessoa, &theirs).await;
    stage.link.expect("out").await;
    stage.end().await;
}
