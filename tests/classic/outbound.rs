//! Servers that the router dials.

use super::ground::{ANA, Ground, JOSE};
use crate::support::server::{BY_DIALBACK, EXTERNAL};

#[tokio::test]
async fn a_server_that_takes_certificates_gets_ours() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_our_certificate_gets_a_key() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(&format!("{EXTERNAL}{BY_DIALBACK}")).await;
    stream.refuse_certificate().await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}
