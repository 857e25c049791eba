//! What the router refuses to a peer host that asks, each row of the failure table (protocol §5);
//! everybody else on the same link is left alone.

use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym_net::clock::Now;
use heteronym_proto::control::{About, Activate, Control, Request as Asked};
use heteronym_proto::element::Element;

use crate::support::activation::{new_aid, question};
use crate::support::domain::Domain;
use crate::support::host::FEDERATION;
use crate::support::name;
use crate::support::stage::{Stage, World};

/// Asks for the pair of the stage's domain and saramago.lit with a request that `change` has changed,
/// and expects that it is refused; then asks again as it should be.
async fn refuses(stage: &mut Stage, condition: &str, reason: &str, change: impl FnOnce(&mut Asked)) {
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let mut asking = stage.link.asking(&stage.pessoa, &theirs);
    change(&mut asking.request);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), condition, reason).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
}

/// Asks for the pair of `domain` and saramago.lit in the right way, and expects that it is refused.
async fn refuses_domain(stage: &mut Stage, domain: &Domain, condition: &str, reason: &str) -> Element {
    let theirs = stage.link.meet(domain, "saramago.lit").await;
    let asking = stage.link.asking(domain, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), condition, reason).await
}

#[tokio::test]
async fn an_element_that_lacks_something_is_malformed() {
    let mut stage = Stage::new().await;
    let (aid, about) = ("AAAAAAAAAAAAAAAAAAAAAA==", About::Aid([0; 16]));
    for element in ["request", "response", "activate", "active", "deactivate"] {
        stage.link.wire.send(format!("<{element} xmlns='{FEDERATION}' aid='{aid}'/>")).await;
        stage.link.expect_refused(&about, "bad-request", "malformed").await;
    }
    stage.link.wire.send(format!("<identity-request xmlns='{FEDERATION}' id='c1' domain='saramago.lit'/>")).await;
    stage.link.expect_refused(&About::Id("c1".into()), "bad-request", "malformed").await;
    stage.end().await;
}

#[tokio::test]
async fn a_key_signature_or_confirmation_of_a_wrong_length_is_malformed() {
    let mut stage = Stage::new().await;
    refuses(&mut stage, "bad-request", "malformed", |request| request.key.clear()).await;
    refuses(&mut stage, "bad-request", "malformed", |request| request.signature.resize(1025, 0)).await;
    let (initiator, responder) = (name("pessoa.lit"), name("saramago.lit"));
    let activate = Activate { aid: new_aid(), initiator, responder, confirm: vec![0; 31] };
    let about = About::Aid(activate.aid);
    stage.link.control(&Control::Activate(activate)).await;
    stage.link.expect_refused(&about, "bad-request", "malformed").await;
    stage.end().await;
}

#[tokio::test]
async fn a_name_that_is_none_is_malformed() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    let element = Control::Request(asking.request.clone()).to_bytes();
    let element = String::from_utf8(element.to_vec()).unwrap();
    stage.link.wire.send(element.replace("'pessoa.lit'", "'192.0.2.7'")).await;
    stage.link.expect_refused(&asking.about(), "bad-request", "malformed").await;
    stage.end().await;
}

#[tokio::test]
async fn an_id_that_is_active_may_not_be_used_again() {
    let mut stage = Stage::new().await;
    let aid = stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let theirs = stage.link.meet(&stage.pessoa, "chat.saramago.lit").await;
    let mut asking = stage.link.asking(&stage.pessoa, &theirs);
    asking.request.aid = aid;
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), "bad-request", "malformed").await;
    stage.link.tell("ana@pessoa.lit", "jose@saramago.lit", "in").await;
    stage.local.expect("in").await;
    stage.end().await;
}

#[tokio::test]
async fn an_id_that_is_pending_may_not_be_used_again() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    let response = stage.link.hear_response(asking.request.aid).await;
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), "bad-request", "malformed").await;
    let activate = asking.conclude(&stage.pessoa, response);
    let aid = activate.aid;
    stage.link.control(&Control::Activate(activate)).await;
    stage.link.expect_active(aid).await;
    stage.end().await;
}

#[tokio::test]
async fn a_step_of_an_activation_that_nobody_asked_for_is_malformed() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    let mut response = stage.link.hear_response(asking.request.aid).await;
    response.aid = new_aid();
    stage.link.control(&Control::Response(response.clone())).await;
    stage.link.expect_refused(&About::Aid(response.aid), "bad-request", "malformed").await;
    let (initiator, responder) = (name("pessoa.lit"), name("saramago.lit"));
    let activate = Activate { aid: new_aid(), initiator, responder, confirm: response.confirm };
    let about = About::Aid(activate.aid);
    stage.link.control(&Control::Activate(activate)).await;
    stage.link.expect_refused(&about, "bad-request", "malformed").await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_that_is_not_hosted_is_unknown() {
    let mut stage = Stage::new().await;
    stage.link.control(&question("q1", &stage.pessoa, "ricardo.lit")).await;
    stage.link.expect_refused(&About::Id("q1".into()), "item-not-found", "unknown-domain").await;
    let unknown = |request: &mut Asked| request.responder = name("ricardo.lit");
    refuses(&mut stage, "item-not-found", "unknown-domain", unknown).await;
    stage.end().await;
}

/// Whoever holds a stolen certificate of ours must not speak for us to ourselves.
#[tokio::test]
async fn a_domain_of_the_routers_own_may_not_ask() {
    let mut stage = Stage::new().await;
    let own = |request: &mut Asked| request.initiator = name("blimunda.lit");
    refuses(&mut stage, "not-allowed", "policy", own).await;
    let stolen = stage.world.domain("baltasar.lit");
    stage.link.control(&question("q1", &stolen, "saramago.lit")).await;
    stage.link.expect_refused(&About::Id("q1".into()), "not-allowed", "policy").await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_whose_policy_is_off_may_not_ask() {
    let world = World::configured("[federation.domains.\"pessoa.lit\"]\npolicy = 'off'").await;
    let mut stage = Stage::on(world).await;
    let pessoa = stage.world.domain("pessoa.lit");
    refuses_domain(&mut stage, &pessoa, "not-allowed", "policy").await;
    stage.end().await;
}

#[tokio::test]
async fn a_suite_that_nobody_knows_is_unsupported() {
    let mut stage = Stage::new().await;
    let unknown = || "rsa-pkcs1-sha256+rsa-pkcs1".to_owned();
    refuses(&mut stage, "not-acceptable", "unsupported-suite", |request| request.initiator_suite = unknown()).await;
    refuses(&mut stage, "not-acceptable", "unsupported-suite", |request| request.responder_suite = unknown()).await;
    stage.end().await;
}

#[tokio::test]
async fn a_suite_that_the_certificate_does_not_have_is_unsupported() {
    let mut stage = Stage::new().await;
    let other = || "ed25519+hpke-x25519-sha256-aes128gcm".to_owned();
    refuses(&mut stage, "not-acceptable", "unsupported-suite", |request| request.initiator_suite = other()).await;
    refuses(&mut stage, "not-acceptable", "unsupported-suite", |request| request.responder_suite = other()).await;
    stage.end().await;
}

#[tokio::test]
async fn a_certificate_or_key_that_is_not_the_current_one_is_stale() {
    let mut stage = Stage::new().await;
    let changes: [fn(&mut Asked); 4] = [
        |request| request.initiator_cert[0] ^= 1,
        |request| request.responder_cert[0] ^= 1,
        |request| request.initiator_kem.as_mut().unwrap()[0] ^= 1,
        |request| request.responder_kem = None,
    ];
    for change in changes {
        refuses(&mut stage, "conflict", "stale-identity", change).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_domain_that_was_never_shown_is_stale() {
    let mut stage = Stage::new().await;
    let campos = stage.world.domain("campos.lit");
    let theirs = stage.link.meet(&campos, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), "conflict", "stale-identity").await;
    stage.end().await;
}

#[tokio::test]
async fn a_certificate_that_does_not_prove_the_domain_is_untrusted() {
    let mut stage = Stage::new().await;
    let now = Now::read().unix;
    let good = Request::new(["pessoa.lit"], KeyKind::P256);
    let expired = Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..good.clone() };
    let early = Request { not_before: Some(now + 3600), ..good.clone() };
    let other = Request::new(["campos.lit"], KeyKind::P256);
    let mut domains: Vec<_> =
        [expired, early, other].iter().map(|r| stage.world.domain_with("pessoa.lit", r)).collect();
    let stranger = Authority::new("Nobody's").unwrap().issue(&good).unwrap();
    domains.push(Domain::new(name("pessoa.lit"), stage.world.host.name.clone(), &stranger));
    for domain in &domains {
        refuses_domain(&mut stage, domain, "not-authorized", "untrusted-certificate").await;
    }
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.end().await;
}

#[tokio::test]
async fn a_key_that_another_host_was_given_is_untrusted() {
    let mut stage = Stage::new().await;
    let issued = stage.world.authority.issue(&Request::new(["pessoa.lit"], KeyKind::P256)).unwrap();
    let elsewhere = Domain::new(name("pessoa.lit"), name("xmpp.third.isp"), &issued);
    refuses_domain(&mut stage, &elsewhere, "not-authorized", "untrusted-certificate").await;
    stage.end().await;
}

#[tokio::test]
async fn a_key_of_other_dates_than_today_is_untrusted() {
    let mut stage = Stage::new().await;
    let now = Now::read().unix;
    let (hour, day) = (3600, 24 * 3600);
    for (not_before, not_after) in [(now - day, now - 2 * hour), (now + hour, now + day), (now, now + day + 1)] {
        let mut pessoa = stage.world.domain("pessoa.lit");
        pessoa.offer_kem(not_before, not_after);
        refuses_domain(&mut stage, &pessoa, "not-authorized", "untrusted-certificate").await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_domain_whose_records_name_another_host_is_not_delegated() {
    let mut stage = Stage::new().await;
    stage.world.names.set_srv("pessoa.lit", vec![(0, 0, 5270, "xmpp.third.isp".into())]);
    let pessoa = stage.world.domain("pessoa.lit");
    refuses_domain(&mut stage, &pessoa, "forbidden", "not-delegated").await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_without_records_is_not_delegated() {
    let mut stage = Stage::new().await;
    stage.world.names.remove("pessoa.lit");
    let pessoa = stage.world.domain("pessoa.lit");
    refuses_domain(&mut stage, &pessoa, "forbidden", "not-delegated").await;
    stage.end().await;
}

/// Strangers cannot make the router look things up.
#[tokio::test]
async fn nothing_is_looked_up_before_the_signature_holds() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let mut asking = stage.link.asking(&stage.pessoa, &theirs);
    asking.request.signature[9] ^= 1;
    stage.link.control(&Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), "not-authorized", "bad-proof").await;
    assert_eq!(stage.world.names.questions("_xmpp-federation._tcp.pessoa.lit"), 0);
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    assert_eq!(stage.world.names.questions("_xmpp-federation._tcp.pessoa.lit"), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_look_up_that_fails_is_busy_and_no_refusal_for_good() {
    let mut stage = Stage::new().await;
    stage.world.names.fail("pessoa.lit");
    let pessoa = stage.world.domain("pessoa.lit");
    let busy = refuses_domain(&mut stage, &pessoa, "resource-constraint", "busy").await;
    let seconds: u32 = busy.attr("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&seconds), "{busy:?}");
    stage.end().await;
}

/// A wrong signature, a ciphertext that does not open and a wrong confirmation: an attacker learns
/// from the answer that there is no proof, and nothing more.
#[tokio::test]
async fn every_proof_that_fails_gets_one_and_the_same_answer() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let mut unsigned = stage.link.asking(&stage.pessoa, &theirs);
    let last = unsigned.request.signature.len() - 1;
    unsigned.request.signature[last] ^= 1;
    let unopened = stage.link.asking_with(&stage.pessoa, &theirs, |ciphertext| ciphertext[40] ^= 1);
    let mut answers = Vec::new();
    for asking in [unsigned, unopened] {
        stage.link.control(&Control::Request(asking.request.clone())).await;
        answers.push(stage.link.expect_refused(&asking.about(), "not-authorized", "bad-proof").await);
    }
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    let (about, response) = (asking.about(), stage.link.hear_response(asking.request.aid).await);
    let mut activate = asking.conclude(&stage.pessoa, response);
    activate.confirm[31] ^= 1;
    stage.link.control(&Control::Activate(activate)).await;
    answers.push(stage.link.expect_refused(&about, "not-authorized", "bad-proof").await);
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    stage.end().await;
}

/// What one channel has signed is worth nothing on another: cb is in the transcript.
#[tokio::test]
async fn a_request_of_another_channel_proves_nothing() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let mut other = stage.world.host.dial(&stage.world.router).await;
    std::mem::swap(&mut stage.link.setting, &mut other.setting);
    let replayed = stage.link.asking(&stage.pessoa, &theirs);
    std::mem::swap(&mut stage.link.setting, &mut other.setting);
    drop(other);
    stage.link.answer_ping().await;
    stage.link.control(&Control::Request(replayed.request.clone())).await;
    stage.link.expect_refused(&replayed.about(), "not-authorized", "bad-proof").await;
    stage.end().await;
}

/// The names in `<activate/>` are those of the request, or it proves nothing.
#[tokio::test]
async fn an_activate_with_other_names_proves_nothing() {
    let mut stage = Stage::new().await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&Control::Request(asking.request.clone())).await;
    let (about, response) = (asking.about(), stage.link.hear_response(asking.request.aid).await);
    let mut activate = asking.conclude(&stage.pessoa, response);
    activate.responder = name("chat.saramago.lit");
    stage.link.control(&Control::Activate(activate)).await;
    stage.link.expect_refused(&about, "not-authorized", "bad-proof").await;
    stage.end().await;
}

/// Two a second, ten at once: of thirty that come at once some are put off, and whoever waits as long
/// as it was told gets through.
#[tokio::test]
async fn a_host_over_its_budget_is_told_when_to_ask_again() {
    let mut stage = Stage::on(World::configured("[limits]\nactivations_per_second = 2").await).await;
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let request = stage.link.asking(&stage.pessoa, &theirs).request;
    let strangers = (0..30).map(|n| Asked { initiator: name(&format!("d{n}.lit")), aid: new_aid(), ..request.clone() });
    let all: Vec<u8> = strangers.flat_map(|request| Control::Request(request).to_bytes()).collect();
    stage.link.wire.send(all).await;
    let mut retry_after = None;
    for _ in 0..30 {
        let refused = stage.link.wire.element().await;
        if let Some(busy) = refused.child("busy", FEDERATION) {
            assert!(refused.child("resource-constraint", "urn:ietf:params:xml:ns:xmpp-stanzas").is_some());
            retry_after = Some(busy.attr("retry-after").unwrap().parse().unwrap());
        } else {
            assert!(refused.child("stale-identity", FEDERATION).is_some(), "{refused:?}");
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(retry_after.expect("some were over the budget"))).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.end().await;
}
