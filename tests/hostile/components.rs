//! Component streams of an enemy (XEP-0114), in both roles: whoever reaches the component port, and a
//! server that we dial.

use std::time::Duration;

use heteronym_proto::status::LocalState;
use heteronym_proto::stream_error::Condition;

use super::JOSE;
use crate::support::local::{COMPONENT, ComponentPort, Local};
use crate::support::stage::{SECRET, Stage, World};
use crate::support::wire::Heard;

const STREAMS: &str = "http://etherx.jabber.org/streams";

fn header(to: &str) -> String {
    format!("<stream:stream xmlns='{COMPONENT}' xmlns:stream='{STREAMS}' to='{to}'>")
}

#[tokio::test]
async fn whatever_is_no_handshake_is_told_so() {
    let mut stage = Stage::new().await;
    let good = header("baltasar.lit");
    let endless = format!("{good}<handshake>{}</handshake>", "0".repeat(100_000));
    let wide = format!("<stream:stream xmlns='{COMPONENT}' a='{}", "x".repeat(100_000));
    let twice = format!("{good}{good}");
    let ours = |inner: &str| format!("{good}{inner}");
    for (hostile, condition) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), Condition::NotWellFormed),
        ("\u{16}\u{3}\u{1}\u{2}".to_owned(), Condition::NotWellFormed),
        ("<handshake>00</handshake>".to_owned(), Condition::BadFormat),
        ("<!DOCTYPE x>".to_owned(), Condition::RestrictedXml),
        (wide, Condition::PolicyViolation),
        (header("&#114;icardo.lit"), Condition::HostUnknown),
        (header("jose@baltasar.lit"), Condition::HostUnknown),
        (header("baltasar.lit' to='saramago.lit"), Condition::NotWellFormed),
        (twice, Condition::NotWellFormed),
        (endless, Condition::NotAuthorized),
        (ours("<handshake/>"), Condition::NotAuthorized),
        (ours("<handshake xmlns='jabber:component:connect'>0</handshake>"), Condition::NotAuthorized),
        (
            ours("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"),
            Condition::NotAuthorized,
        ),
        (ours("<stream:features/>"), Condition::NotAuthorized),
        (ours("<handshake>&lol;</handshake>"), Condition::RestrictedXml),
        (ours("text"), Condition::NotWellFormed),
    ] {
        let mut local = Local::connect(stage.world.router.component).await;
        local.send(&hostile).await;
        local.wire.header().await;
        local.wire.expect_error(condition).await;
        stage.talk().await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let mut stage = Stage::on(World::configured("[limits]\nconnect_timeout = '3s'").await).await;
    let good = header("baltasar.lit");
    let mut all = Vec::new();
    for first in ["", " ", "<", "<stream:stream", &good, &format!("{good}<handshake>")] {
        let mut local = Local::connect(stage.world.router.component).await;
        local.send(first).await;
        all.push(local);
    }
    stage.talk().await;
    for mut local in all {
        while !matches!(local.wire.hear().await, Heard::Closed) {}
    }
    let mut second = stage.world.attach_second().await;
    second.tell("sete@baltasar.lit", JOSE, "there").await;
    stage.local.expect("there").await;
    stage.end().await;
}

/// A server that ends its stream, or begins another in it, loses its link; the next one is as good.
#[tokio::test]
async fn a_component_stream_that_is_broken_ends() {
    let mut stage = Stage::new().await;
    let good = header("baltasar.lit");
    for (hostile, condition) in [
        (good.as_str(), Condition::NotWellFormed),
        ("</stream:strea>", Condition::NotWellFormed),
        ("<stream:features/>", Condition::UnsupportedStanzaType),
        ("<handshake/>", Condition::UnsupportedStanzaType),
        ("<db:result xmlns:db='jabber:server:dialback' from='a.lit' to='b.lit'/>", Condition::UnsupportedStanzaType),
        ("<chosen xmlns='urn:xmpp:federation:0'/>", Condition::UnsupportedStanzaType),
    ] {
        let mut second = stage.world.attach_second().await;
        second.tell("sete@baltasar.lit", JOSE, "before").await;
        second.send(hostile).await;
        second.wire.expect_error(condition).await;
        stage.local.expect("before").await;
        stage.talk().await;
    }
    let error = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
    for end in [error, "</stream:stream>"] {
        let mut second = stage.world.attach_second().await;
        second.send(end).await;
        second.wire.expect_end().await;
        stage.talk().await;
    }
    stage.end().await;
}

/// It is told once; what it goes on sending is neither routed nor answered.
#[tokio::test]
async fn what_comes_behind_the_error_of_a_component_counts_for_nothing() {
    let mut stage = Stage::new().await;
    let mut second = stage.world.attach_second().await;
    second.send("<handshake/>").await;
    while second.wire.try_send(crate::support::message("sete@baltasar.lit", JOSE, "after")).await.is_ok() {}
    let mut errors = 0;
    loop {
        match second.wire.hear().await {
            Heard::Element(_) => errors += 1,
            Heard::End | Heard::Header(_) => (),
            Heard::Closed => break,
        }
    }
    assert!(errors <= 1, "{errors} errors");
    stage.talk().await;
    stage.end().await;
}

/// Every stanza that it sends is answered: what it does not read must not pile up.
#[tokio::test]
async fn a_server_that_does_not_read_its_answers_is_not_read_either() {
    let mut stage = Stage::new().await;
    let mut second = stage.world.attach_second().await;
    let forged = crate::support::message(JOSE, "x@reis.lit", "forged").repeat(1000);
    let (mut sent, limit) = (0, 48 << 20);
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(5), second.wire.try_send(&forged)).await {
        sent += forged.len();
        assert!(sent < limit, "it is read without end");
    }
    stage.talk().await;
    drop(second);
    stage.end().await;
}

/// The server whose component port we dial: it is told what is wrong, and dialled again.
#[tokio::test]
async fn a_server_that_answers_the_dial_with_nonsense_is_told_so_and_dialled_again() {
    let port = ComponentPort::open(SECRET).await;
    let address = port.address();
    let attach = format!(
        "{{ kind = 'dial-component', address = '{address}', name = 'heteronym.internal', secret = '{SECRET}' }}"
    );
    let config = format!("[[local]]\nname = 'three'\ndomains = ['sintra.lit']\nattach = {attach}");
    let mut stage = Stage::on(World::configured(&config).await).await;
    let good = format!("<stream:stream xmlns='{COMPONENT}' xmlns:stream='{STREAMS}' id='1' from='heteronym.internal'>");
    for (hostile, condition) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), Condition::NotWellFormed),
        (good.replace(" id='1'", ""), Condition::InvalidNamespace),
        (good.replace(COMPONENT, "jabber:server"), Condition::InvalidNamespace),
        (format!("{good}<message from='x@sintra.lit' to='{JOSE}'/>"), Condition::NotAuthorized),
        (format!("{good}{good}"), Condition::NotWellFormed),
    ] {
        let mut wire = port.accept_tcp().await;
        wire.header().await;
        wire.send(&hostile).await;
        loop {
            match wire.hear().await {
                Heard::Element(handshake) if handshake.name() == "handshake" => (),
                Heard::Element(error) => {
                    let error = heteronym_proto::stream_error::StreamError::from_element(&error);
                    assert_eq!(error.map(|error| error.condition), Some(condition), "{hostile}");
                    break;
                }
                other => panic!("{hostile}: {other:?}"),
            }
        }
        wire.expect_end().await;
        let third = stage.world.router.status().await.locals.into_iter().find(|local| local.name == "three").unwrap();
        assert_ne!(third.state, LocalState::Up);
        stage.talk().await;
    }
    let mut third = port.accept("heteronym.internal").await.unwrap();
    third.tell("x@sintra.lit", JOSE, "there").await;
    stage.local.expect("there").await;
    stage.end().await;
}
