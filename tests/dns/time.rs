//! Records that change, and how long they count.

use heteronym_proto::control::{Control, DeactivateReason, UndeliveredReason};

use super::{ANA, JOSE, SERVICE, of_the_peer};
use crate::support::stage::{Stage, World};

/// A TTL of 0 would mean a question for each stanza: it counts as five seconds.
#[tokio::test]
async fn a_ttl_of_nothing_is_no_storm_of_questions() {
    let world = World::new().await;
    world.names.set_ttl(0);
    world.names.remove("pessoa.lit");
    let mut local = world.attach().await;
    for n in 0..20 {
        local.tell(JOSE, ANA, &n.to_string()).await;
        local.expect_error(&n.to_string(), "remote-server-not-found").await;
    }
    let asked = world.names.questions(SERVICE);
    assert!(asked < 10, "{asked} questions for 20 stanzas");
    // And it does not count for ever.
    world.names.set_srv("pessoa.lit", vec![of_the_peer(&world, 0)]);
    let tcp = loop {
        local.tell(JOSE, ANA, "again").await;
        tokio::select! {
            error = local.wire.element() => assert_eq!(error.attr("type"), Some("error"), "{error:?}"),
            tcp = world.host.accept_tcp() => break tcp,
        }
    };
    let mut link = world.host.let_in(tcp).await;
    link.settle().await;
    link.serve(&world.domain("pessoa.lit")).await;
    world.router.drain().await;
}

/// Pairs that are active go on: a record says whom to ask, not who has proved a domain.
#[tokio::test]
async fn a_record_that_changes_ends_no_pair() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.world.names.remove("pessoa.lit");
    stage.local.tell(JOSE, ANA, "still-there").await;
    stage.link.expect("still-there").await;
    stage.link.tell(ANA, JOSE, "so-am-i").await;
    stage.local.expect("so-am-i").await;
    stage.end().await;
}

/// The newest activation wins, and the host that had the domain is told.
#[tokio::test]
async fn a_domain_that_moves_is_the_new_hosts() {
    let mut stage = Stage::new().await;
    let new = stage.world.another_host("xmpp.third.isp").await;
    // Both are named for as long as the change takes to be known everywhere.
    let records = vec![of_the_peer(&stage.world, 9), (0, 0, new.port(), new.name.to_string())];
    stage.world.names.set_srv("pessoa.lit", records);
    let aid = stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let mut link = new.dial(&stage.world.router).await;
    link.settle().await;
    link.activate(&stage.world.domain_of("pessoa.lit", &new), "saramago.lit").await;
    assert_eq!(
        stage.link.hear_control().await,
        Control::Deactivate { aid, reason: DeactivateReason::Moved },
        "the old host is told"
    );
    stage.local.tell(JOSE, ANA, "out").await;
    link.expect("out").await;
    link.tell(ANA, JOSE, "in").await;
    stage.local.expect("in").await;
    let n = stage.link.tell(ANA, JOSE, "too-late").await;
    stage.link.expect_undelivered(n, UndeliveredReason::PairNotActive).await;
    drop(link);
    stage.end().await;
}
