//! Servers that dial the router.

use super::ground::{ANA, Ground, JOSE};

#[tokio::test]
async fn a_certificate_lets_a_server_in() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.router.s2s.unwrap(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    assert!(!server.has_been_dialled().await, "nobody is asked back");
    drop(stream);
    ground.end().await;
}

/// XEP-0344: the certificate answers for the key.
#[tokio::test]
async fn a_certificate_answers_for_a_dialback_key() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.router.s2s.unwrap(), "pessoa.lit", "saramago.lit").await;
    stream.send_key("pessoa.lit", "saramago.lit").await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "valid").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    assert!(!server.has_been_dialled().await, "nobody is asked back");
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_key_is_verified_by_asking_back() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = server.dial(ground.router.s2s.unwrap(), "pessoa.lit", "saramago.lit").await;
    stream.send_key("pessoa.lit", "saramago.lit").await;
    server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "valid").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    drop(stream);
    ground.end().await;
}
