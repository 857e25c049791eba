//! Who has proved nothing: bounds, and the errors that end its stream. Nothing of it is delivered or answered.

use heteronym_proto::limits::CHECKS;

use super::ground::{ANA, Ground, JOSE, STARTTLS};
use crate::support::server::EXTERNAL;
use crate::support::silence::Silent;

/// Of one stream.
const PENDING: usize = heteronym_proto::limits::PENDING_CHECKS;

/// Strangers make the router dial servers that never answer, and its own users' servers are dialled still.
#[tokio::test]
async fn checks_without_an_answer_hold_up_nobodys_stanzas() {
    let mut ground = Ground::new("").await;
    let silent = Silent::on(&["127.0.0.1"]).await;
    let (stranger, server) = (ground.stranger("evil.lit").await, ground.server("pessoa.lit").await);
    ground.names.set_addresses("s2s.silent.lit", vec!["127.0.0.1".parse().unwrap()]);
    let mut streams = Vec::new();
    for n in 0..CHECKS / PENDING {
        let mut stream = stranger.dial(ground.s2s(), "evil.lit", "saramago.lit").await;
        for m in 0..PENDING {
            let domain = format!("d{n}-{m}.evil.lit");
            ground.names.set_service(STARTTLS, &domain, vec![(0, 0, silent.port(), "s2s.silent.lit".to_owned())]);
            stream.send_key(&domain, "saramago.lit").await;
        }
        streams.push(stream);
    }
    let mut last = stranger.dial(ground.s2s(), "evil.lit", "saramago.lit").await;
    // One that the others leave no room for: then all of them are under way.
    last.send_key("evil.lit", "saramago.lit").await;
    loop {
        tokio::select! {
            biased;
            verdict = last.wire.element() => match verdict.attr("type") {
                Some("error") => break,
                _ => last.send_key("evil.lit", "saramago.lit").await,
            },
            mut asked = stranger.accept("") => asked.answer_verify(|_| "invalid").await,
        }
    }
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("out").await;
    drop((streams, last, stream));
    ground.end().await;
}
