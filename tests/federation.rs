//! Pairs and stanzas, as they should be.

use heteronym::demo::authority::{KeyKind, KeyUsage, Request};
use heteronym_proto::pairs::PairState;
use heteronym_proto::status::Via;

use crate::support::stage::{ROUTER, Set, Stage, World};

#[tokio::test]
async fn a_pair_that_the_peer_asks_for_carries_stanzas_both_ways() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.link.tell("ana@pessoa.lit", "jose@saramago.lit", "in").await;
    stage.local.expect("in").await;
    stage.local.tell("jose@saramago.lit", "ana@pessoa.lit", "out").await;
    stage.link.expect("out").await;
    stage.end().await;
}

#[tokio::test]
async fn a_pair_that_the_router_asks_for_carries_stanzas_both_ways() {
    let mut stage = Stage::new().await;
    stage.local.tell("jose@saramago.lit", "ana@pessoa.lit", "out").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("out").await;
    stage.link.tell("ana@pessoa.lit", "jose@saramago.lit", "in").await;
    stage.local.expect("in").await;
    stage.end().await;
}

/// Key type and keyUsage decide about suites: RSA that is encrypted to, and KEM keys for all others.
#[tokio::test]
async fn every_kind_of_certificate_is_proved_in_both_roles() {
    let encipherment =
        Request { key_usage: KeyUsage::SignatureAndEncipherment, ..Request::new(["pessoa.lit"], KeyKind::Rsa2048) };
    let others = [KeyKind::Rsa2048, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];
    let others = others.map(|kind| Request::new(["pessoa.lit"], kind));
    for request in others.into_iter().chain([encipherment]) {
        let world = World::with(Set { keys: request.clone(), ..Set::default() }).await;
        let pessoa = world.domain_with("pessoa.lit", &request);
        let mut stage = Stage::on(world).await;
        stage.link.activate(&pessoa, "saramago.lit").await;
        stage.local.tell("rui@chat.saramago.lit", "ana@pessoa.lit", "out").await;
        stage.link.serve(&pessoa).await;
        stage.link.expect("out").await;
        stage.end().await;
    }
}

#[tokio::test]
async fn stanzas_that_wait_for_a_pair_arrive_in_their_order() {
    let mut stage = Stage::new().await;
    for n in 0..20 {
        stage.local.tell("jose@saramago.lit", "ana@pessoa.lit", &format!("{n}")).await;
    }
    stage.link.serve(&stage.pessoa).await;
    for n in 0..20 {
        stage.link.expect(&format!("{n}")).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_pair_may_be_renewed_while_it_is_active() {
    let mut stage = Stage::new().await;
    let first = stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let second = stage.link.activate(&stage.pessoa, "saramago.lit").await;
    assert_ne!(first, second);
    let pairs = stage.world.router.pairs("saramago.lit", "pessoa.lit").await;
    assert_eq!(pairs.iter().map(|pair| pair.state).collect::<Vec<_>>(), [PairState::Active]);
    stage.local.tell("jose@saramago.lit", "ana@pessoa.lit", "out").await;
    stage.link.expect("out").await;
    stage.end().await;
}

#[tokio::test]
async fn two_domains_of_the_router_talk_inside_it() {
    let mut stage = Stage::new().await;
    let mut second = stage.world.attach_second().await;
    stage.local.tell("jose@saramago.lit", "sete@baltasar.lit", "there").await;
    second.expect("there").await;
    second.tell("sete@baltasar.lit", "jose@saramago.lit", "back").await;
    stage.local.expect("back").await;
    let pairs = stage.world.router.pairs("saramago.lit", "baltasar.lit").await;
    let shown: Vec<_> = pairs.iter().map(|pair| (pair.via, pair.state, pair.host.as_deref())).collect();
    assert_eq!(shown, [(Via::Local, PairState::Active, None)]);
    assert_eq!(stage.world.names.questions("_xmpp-federation._tcp.baltasar.lit"), 0, "nobody else is asked");
    stage.end().await;
}

#[tokio::test]
async fn two_domains_of_one_entry_talk_inside_the_router() {
    let mut stage = Stage::new().await;
    stage.local.tell("jose@saramago.lit", "room@chat.saramago.lit", "to-the-room").await;
    stage.local.expect("to-the-room").await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_answers_pings_and_says_what_it_can() {
    let mut stage = Stage::new().await;
    let from_to = format!("from='{}' to='{ROUTER}'", stage.world.host.name);
    stage.link.send(format!("<iq type='get' id='p' {from_to}><ping xmlns='urn:xmpp:ping'/></iq>")).await;
    let pong = stage.link.stanza().await;
    assert_eq!((pong.attr("type"), pong.attr("id")), (Some("result"), Some("p")));
    let disco = "http://jabber.org/protocol/disco#info";
    stage.link.send(format!("<iq type='get' id='d' {from_to}><query xmlns='{disco}'/></iq>")).await;
    let answer = stage.link.stanza().await;
    let features = answer.child("query", disco).unwrap().children();
    assert!(features.into_iter().any(|feature| feature.attr("var") == Some("urn:xmpp:federation:0")), "{answer:?}");
    stage.end().await;
}
