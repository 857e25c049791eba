//! A panic of an actor costs its activation or its connection: all others go on, and its parent begins anew.
//!
//! One test, since what is built in is built into the whole process.

use std::panic::{set_hook, take_hook};
use std::sync::Arc;

use heteronym::panics::watch;
use heteronym_actors::metrics::Metrics;
use heteronym_proto::broken::{Fault, build_in};

use crate::support::local::Local;
use crate::support::soon;
use crate::support::stage::{SECRET, Stage};
use crate::support::wire::Heard;

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";

/// Attaches as soon as there is somebody to attach to.
async fn attach(stage: &Stage) -> Local {
    let attaching = async {
        loop {
            let mut local = Local::knock(stage.world.router.component, "saramago.lit", SECRET).await;
            if let Heard::Element(_) = local.wire.hear().await {
                return local;
            }
        }
    };
    soon("another link", attaching).await
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "where the usual hook would have printed it")]
async fn a_panic_costs_what_it_belongs_to_and_is_counted() {
    let metrics = Arc::new(Metrics::new().unwrap());
    watch(Arc::clone(&metrics));
    // The test's own panics are to be read as well.
    let counting = take_hook();
    set_hook(Box::new(move |panic| {
        counting(panic);
        eprintln!("{panic}");
    }));
    let mut stage = Stage::new().await;

    build_in(Fault::PairPanics);
    stage.local.tell(JOSE, ANA, "1").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("1").await;
    assert_eq!(metrics.panics(), 1, "the activation was begun again");
    stage.talk().await;

    build_in(Fault::LocalPanics);
    stage.local.tell(JOSE, ANA, "lost").await;
    stage.local.wire.expect_closed().await;
    stage.local = attach(&stage).await;
    stage.local.tell(JOSE, ANA, "2").await;
    stage.link.expect("2").await;
    assert_eq!(metrics.panics(), 2, "another link took its place");

    build_in(Fault::LinkPanics);
    stage.link.tell(ANA, JOSE, "lost").await;
    stage.link.wire.expect_closed().await;
    stage.link = stage.world.host.dial(&stage.world.router).await;
    stage.link.settle().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.link.tell(ANA, JOSE, "3").await;
    stage.local.expect("3").await;
    assert_eq!(metrics.panics(), 3, "another link took its place");
    drop(take_hook());
    stage.world.router.drain().await;
}
