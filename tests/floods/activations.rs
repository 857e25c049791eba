//! Activations that are asked for without end.

use heteronym_proto::control::{Control, Request as Asked};

use crate::hostile::{active, third};
use crate::support::activation::{new_aid, question};
use crate::support::host::FEDERATION;
use crate::support::metrics::metric;
use crate::support::name;
use crate::support::stage::{Stage, World};

const BUSY: &str = "heteronym_activations_total{result=\"busy\",role=\"responder\"}";
const ACTIVE: &str = "heteronym_activations_total{result=\"active\",role=\"responder\"}";

/// One host asks a thousand times, and is put off; another asks once, and is served.
#[tokio::test]
async fn a_flood_of_activations_costs_its_own_host_only() {
    let mut stage = Stage::on(World::configured("[limits]\nactivations_per_second = 1").await).await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    let own = stage.world.domain_of("third.lit", &host);
    let theirs = link.meet(&own, "blimunda.lit").await;
    let request = link.asking(&own, &theirs).request;
    let flood: Vec<u8> = (0..1000)
        .flat_map(|n| {
            let asked = Asked { initiator: name(&format!("d{n}.lit")), aid: new_aid(), ..request.clone() };
            [Control::Request(asked).to_bytes(), question(&format!("q{n}"), &own, "saramago.lit").to_bytes()]
        })
        .flatten()
        .collect();
    let before = metric(&stage.world.router, ACTIVE);
    link.wire.send(flood).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let mut busy = 0.0;
    for _ in 0..2000 {
        busy += f64::from(u8::from(link.wire.element().await.child("busy", FEDERATION).is_some()));
    }
    // Five at once, and one a second.
    assert!(busy > 1000.0, "{busy}");
    assert_eq!(metric(&stage.world.router, BUSY), busy);
    assert_eq!(metric(&stage.world.router, ACTIVE), before + 1.0);
    assert!(metric(&stage.world.router, "heteronym_crypto_operations_total{result=\"done\"}") >= 1.0);
    assert_eq!(metric(&stage.world.router, "heteronym_crypto_waiting_operations"), 0.0);
    stage.end().await;
}
