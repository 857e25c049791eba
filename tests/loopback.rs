//! Servers of ours that attach by loopback S2S: who is let in, which way stanzas go, and what is left of
//! them when either side goes away.

mod house;
mod proofs;
mod restarts;

use heteronym_proto::stream_error::Condition;
use house::{BLIMUNDA, House, MARIA};

use crate::classic::ground::{ANA, JOSE, ROUTER};
use crate::support::host::TLS;
use crate::support::link::SERVER;
use crate::support::server::EXTERNAL;

/// One stream for all pairs; each is asked for once.
#[tokio::test]
async fn a_server_gets_everything_by_one_stream() {
    let mut house = House::new().await;
    house.ground.local.tell(JOSE, BLIMUNDA, "from inside").await;
    house.hear("saramago.lit", "blimunda.lit", "from inside").await;
    house.ground.local.tell("rui@chat.saramago.lit", BLIMUNDA, "another domain").await;
    house.hear("chat.saramago.lit", "blimunda.lit", "another domain").await;
    house.ground.local.tell(JOSE, MARIA, "to another").await;
    house.hear("saramago.lit", "chat.blimunda.lit", "to another").await;

    let outside = house.ground.server("pessoa.lit").await;
    let mut ana = outside.dial(house.ground.s2s(), "pessoa.lit", "blimunda.lit").await;
    ana.authenticate("pessoa.lit", "blimunda.lit").await;
    ana.tell(ANA, BLIMUNDA, "from outside").await;
    house.hear("pessoa.lit", "blimunda.lit", "from outside").await;

    house.ground.local.tell(JOSE, BLIMUNDA, "again").await;
    house.stream.expect("again").await;
    assert!(!house.server.has_been_dialled().await, "one is enough");
    drop(ana);
    house.end().await;
}

#[tokio::test]
async fn what_a_server_sends_goes_inside_and_out() {
    let mut house = House::new().await;
    let outside = house.ground.server("pessoa.lit").await;
    let mut inside = house.let_in("blimunda.lit", "saramago.lit").await;
    inside.tell(BLIMUNDA, JOSE, "to inside").await;
    house.ground.local.expect("to inside").await;

    let mut to_ana = house.let_in("blimunda.lit", "pessoa.lit").await;
    to_ana.tell(BLIMUNDA, ANA, "to outside").await;
    let mut ana = outside.accept(EXTERNAL).await;
    assert_eq!(ana.shown(), ["blimunda.lit"]);
    ana.let_in("").await;
    ana.expect("to outside").await;
    drop((inside, to_ana, ana));
    house.end().await;
}

/// Prosody answers by any stream that it has with us.
#[tokio::test]
async fn a_stanza_by_another_pairs_stream_goes_where_it_is_addressed() {
    let mut house = House::new().await;
    let outside = house.ground.server("pessoa.lit").await;
    let mut stream = house.let_in("blimunda.lit", "saramago.lit").await;
    stream.tell(BLIMUNDA, ANA, "to another domain").await;
    let mut ana = outside.accept(EXTERNAL).await;
    ana.let_in("").await;
    ana.expect("to another domain").await;
    stream.tell(MARIA, JOSE, "from another domain").await;
    house.ground.local.expect("from another domain").await;
    drop((stream, ana));
    house.end().await;
}

/// A refusal of the key would make `remote-server-timeout` of it, for minutes.
#[tokio::test]
async fn a_domain_that_does_not_exist_is_accepted_and_each_stanza_bounced() {
    let mut house = House::new().await;
    let mut stream = house.let_in("blimunda.lit", "nowhere.lit").await;
    for id in ["one", "two"] {
        stream.tell(BLIMUNDA, "nobody@nowhere.lit", id).await;
    }
    house.stream.take_key("nowhere.lit", "blimunda.lit").await;
    for id in ["one", "two"] {
        house.hear_error(id, "remote-server-not-found").await;
    }
    drop(stream);
    house.end().await;
}

/// It comes back from a server that does not serve it, and would for ever.
#[tokio::test]
async fn a_stanza_for_a_domain_of_its_own_entry_is_not_sent_back() {
    let mut house = House::new().await;
    let mut stream = house.let_in("blimunda.lit", "chat.blimunda.lit").await;
    stream.tell(BLIMUNDA, MARIA, "loops").await;
    house.stream.take_key("chat.blimunda.lit", "blimunda.lit").await;
    let text = house.hear_error("loops", "item-not-found").await;
    assert!(text.contains("this server does not serve it"), "{text}");
    drop(stream);
    house.end().await;
}

#[tokio::test]
async fn a_server_may_not_write_as_a_domain_of_another() {
    let house = House::new().await;
    let mut stream = house.let_in("blimunda.lit", "pessoa.lit").await;
    stream.tell(JOSE, ANA, "forged").await;
    stream.wire.expect_error(Condition::InvalidFrom).await;
    house.end().await;
}

/// What goes beyond our limits is one user's doing.
#[tokio::test]
async fn a_stanza_that_is_too_large_ends_nothing() {
    let mut house = House::with("[limits]\nstanza_bytes = '20KiB'").await;
    let mut stream = house.let_in("blimunda.lit", "saramago.lit").await;
    let body = "x".repeat(21 << 10);
    let large = format!("<message from='{BLIMUNDA}' to='{JOSE}' id='large'><body>{body}</body></message>");
    stream.wire.send(large).await;
    stream.tell(BLIMUNDA, JOSE, "small").await;
    house.ground.local.expect("small").await;
    house.stream.take_key("saramago.lit", "blimunda.lit").await;
    house.hear_error("large", "policy-violation").await;
    drop(stream);
    house.end().await;
}

/// Debian's ejabberd insists; nobody vouches for the certificate, and nobody has to.
#[tokio::test]
async fn tls_is_spoken_with_a_server_that_insists() {
    let mut house = House::insisting().await;
    house.ground.local.tell(JOSE, BLIMUNDA, "encrypted").await;
    house.hear("saramago.lit", "blimunda.lit", "encrypted").await;
    let mut stream = house.server.dial(house.loopback(), "blimunda.lit", "saramago.lit").await;
    assert_eq!(stream.shown(), [ROUTER], "a certificate of its own making");
    assert!(!stream.offers("starttls", TLS) && !stream.offers("mechanisms", "urn:ietf:params:xml:ns:xmpp-sasl"));
    house.prove(&mut stream, "blimunda.lit", "saramago.lit").await;
    stream.tell(BLIMUNDA, JOSE, "back").await;
    house.ground.local.expect("back").await;
    drop(stream);
    house.end().await;
}

/// It answers for the domains of the whole world there, and everybody else's keys are its own.
#[tokio::test]
async fn a_server_may_ask_whether_a_key_is_the_routers() {
    let house = House::new().await;
    let mut asking = house.server.dial_plain(house.loopback(), "blimunda.lit", "pessoa.lit").await;
    assert_eq!(asking.verify("blimunda.lit", ROUTER, "one", &house.key).await, "valid");
    assert_eq!(asking.verify("blimunda.lit", "pessoa.lit", "one", &house.key).await, "invalid");
    assert_eq!(asking.verify("blimunda.lit", ROUTER, "two", &house.key).await, "invalid");
    drop(asking);
    house.end().await;
}

/// Both ends on one stream would save nothing here: a server has a stream for each pair of its own.
#[tokio::test]
async fn what_is_written_to_a_server_has_the_namespace_of_servers() {
    let mut house = House::new().await;
    let accepted = house.server.dial_plain(house.loopback(), "blimunda.lit", "saramago.lit").await;
    assert!(accepted.offers("dialback", "urn:xmpp:features:dialback"), "{:?}", accepted.features);
    house.ground.local.send(format!("<presence xmlns='jabber:component:accept' from='{JOSE}' to='{BLIMUNDA}'/>")).await;
    house.stream.take_key("saramago.lit", "blimunda.lit").await;
    let presence = house.stream.wire.element().await;
    assert!(presence.is("presence", SERVER), "{presence:?}");
    drop(accepted);
    house.end().await;
}

/// Who speaks it need not offer it: the feature came later (XEP-0220 §2.3).
#[tokio::test]
async fn a_server_that_does_not_offer_dialback_is_asked_all_the_same() {
    let house = House::unattached("").await;
    let stream = house.server.accept_plain("", "one").await;
    house.proved(stream).await.end().await;
}
