//! No record, no answer, an answer that says nothing: what the user is told, and when.

use super::{ANA, JOSE, SERVICE, is_bounced, is_delivered};
use crate::support::stage::World;

#[tokio::test]
async fn a_domain_that_does_not_exist_is_not_found() {
    let world = World::new().await;
    world.names.remove("pessoa.lit");
    world.names.remove("chat.pessoa.lit");
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-not-found", "the domain has no federation record").await;
    world.router.drain().await;
}

/// NODATA: the name is there, for the sake of another record, and has no record of this kind.
#[tokio::test]
async fn a_domain_without_the_record_is_not_found() {
    let world = World::new().await;
    world.names.remove("pessoa.lit");
    world.names.set_addresses(SERVICE, vec!["127.0.0.1".parse().unwrap()]);
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-not-found", "the domain has no federation record").await;
    world.router.drain().await;
}

#[tokio::test]
async fn a_domain_that_says_it_is_not_offered_is_not_found() {
    let world = World::new().await;
    world.names.set_srv("pessoa.lit", vec![(0, 0, 0, ".".to_owned())]);
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-not-found", "the domain has no federation record").await;
    world.router.drain().await;
}

#[tokio::test]
async fn a_record_that_leads_back_is_not_followed() {
    let world = World::new().await;
    world.names.set_srv("pessoa.lit", vec![(0, 0, 5270, "xmpp.my.isp".to_owned())]);
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-not-found", "leads back to this host").await;
    world.router.drain().await;
}

/// Not for as long as stanzas wait: nothing would be known later that is not known now.
#[tokio::test]
async fn a_failed_look_up_bounces_at_once() {
    let world = World::configured("[limits]\nstanza_wait = '1h'").await;
    world.names.fail("pessoa.lit");
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-timeout", "SERVFAIL").await;
    world.router.drain().await;
}

#[tokio::test]
async fn a_look_up_without_an_answer_bounces_when_it_has_timed_out() {
    let world = World::configured("[limits]\nstanza_wait = '1h'").await;
    world.names.silence("pessoa.lit");
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-timeout", "no answer in time").await;
    world.router.drain().await;
}

/// However many stanzas there are, and for however many pairs: one question, and its outcome is kept.
#[tokio::test]
async fn a_failure_is_asked_for_once() {
    let world = World::configured("[limits]\nstanza_wait = '1h'").await;
    world.names.fail("pessoa.lit");
    let mut local = world.attach().await;
    for _ in 0..2 {
        let ids: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        for id in &ids {
            local.tell(JOSE, ANA, id).await;
            local.tell("rui@chat.saramago.lit", ANA, id).await;
        }
        for _ in 0..2 * ids.len() {
            let error = local.wire.element().await;
            assert_eq!(error.attr("type"), Some("error"), "{error:?}");
        }
    }
    let of_one = world.names.questions(SERVICE);
    world.names.fail("campos.lit");
    local.tell(JOSE, "alvaro@campos.lit", "once").await;
    local.expect_error("once", "remote-server-timeout").await;
    assert_eq!(of_one, world.names.questions("_xmpp-federation._tcp.campos.lit"), "as many as for one stanza");
    world.router.drain().await;
}

/// The silence of one domain holds up nobody else, not even on the same local link.
#[tokio::test]
async fn a_look_up_without_an_answer_holds_up_no_other() {
    let world = World::new().await;
    world.names.silence("campos.lit");
    let mut local = world.attach().await;
    local.tell(JOSE, "alvaro@campos.lit", "held-up").await;
    is_delivered(&world, &mut local).await;
    local.expect_error("held-up", "remote-server-timeout").await;
    world.router.drain().await;
}

/// The peer host proves a domain whose records cannot be looked up: it is busy, and asks again.
#[tokio::test]
async fn a_peer_whose_domain_cannot_be_looked_up_is_told_busy() {
    let mut stage = crate::support::stage::Stage::new().await;
    stage.world.names.fail("pessoa.lit");
    let theirs = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let asking = stage.link.asking(&stage.pessoa, &theirs);
    stage.link.control(&heteronym_proto::control::Control::Request(asking.request.clone())).await;
    stage.link.expect_refused(&asking.about(), "resource-constraint", "busy").await;
    stage.end().await;
}

/// A user of one domain writes to more names than can be asked for at once, and nobody answers.
#[tokio::test]
async fn names_without_answers_hold_up_no_other_domain() {
    let world = World::new().await;
    let mut flooding = world.attach().await;
    for n in 0..2000 {
        let silent = format!("d{n}.silent.lit");
        world.names.silence(&silent);
        flooding.tell(JOSE, &silent, "flood").await;
    }
    flooding.tell(JOSE, "absent.lit", "flood").await;
    let mut local = world.attach_second().await;
    local.tell("sete@baltasar.lit", "absent.lit", "of-both").await;
    local.expect_error("of-both", "remote-server-not-found").await;
    local.tell("sete@baltasar.lit", ANA, "out").await;
    let mut link = world.host.accept().await;
    link.settle().await;
    link.serve(&world.domain("pessoa.lit")).await;
    link.expect("out").await;
}
