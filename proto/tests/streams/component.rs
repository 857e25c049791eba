//! XEP-0114: both roles against each other, and each against somebody who misbehaves.

use std::sync::Arc;

use bytes::Bytes;
use heteronym_proto::component::{Accepted, Acceptor, ComponentError, Dialled, Dialler, NAMESPACE, Secret};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use heteronym_proto::stream_error::Condition;

use crate::{frames, name};

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Entry 0 has saramago.lit and a secret, entry 1 camoes.lit and another, entry 2 pessoa.lit and none.
fn acceptor() -> (Acceptor, Framer) {
    let hosted = (0..).zip(["saramago.lit", "camoes.lit", "pessoa.lit"]).map(|(entry, domain)| (name(domain), entry));
    let secrets = vec![Some(secret("first")), Some(secret("second")), None];
    let acceptor = Acceptor::new(Arc::new(hosted.collect()), Arc::new(secrets), "id<1>".to_owned());
    (acceptor, Framer::new(UNAUTHENTICATED_BYTES))
}

fn only(framer: &mut Framer, bytes: &[u8]) -> Frame {
    let mut all = frames(framer, bytes);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn header(to: &str) -> String {
    format!("<stream:stream xmlns='{NAMESPACE}' xmlns:stream='http://etherx.jabber.org/streams' to='{to}'>")
}

fn condition<T: std::fmt::Debug>(result: Result<T, ComponentError>) -> Condition {
    match result {
        Err(ComponentError::Told(error) | ComponentError::PeerError(error)) => error.condition,
        other => panic!("{other:?}"),
    }
}

/// A whole handshake; what the acceptor says of it, and what the dialler does.
fn handshake(to: &str, with: &str) -> (Result<Accepted, ComponentError>, Option<Result<Dialled, ComponentError>>) {
    let (mut acceptor, mut theirs) = acceptor();
    let (mut dialler, opening) = Dialler::new(to, secret(with));
    let mut ours = Framer::new(UNAUTHENTICATED_BYTES);
    let greeting = match acceptor.frame(only(&mut theirs, &opening)) {
        Ok(Accepted::Send(bytes)) => bytes,
        other => return (other, None),
    };
    let Ok(Dialled::Send(bytes)) = dialler.frame(only(&mut ours, &greeting)) else { panic!("no handshake") };
    let accepted = acceptor.frame(only(&mut theirs, &bytes));
    let answer = match &accepted {
        Ok(Accepted::Up(_, bytes)) => bytes.clone(),
        Ok(Accepted::Send(_)) => panic!("more to send"),
        Err(error) => acceptor.farewell(error),
    };
    let frame = frames(&mut ours, &answer).remove(0);
    (accepted, Some(dialler.frame(frame)))
}

#[test]
fn both_roles_bring_a_link_up() {
    for (domain, with, entry) in
        [("saramago.lit", "first", 0), ("camoes.lit", "second", 1), ("Camoes.LIT", "second", 1)]
    {
        let (accepted, dialled) = handshake(domain, with);
        assert!(matches!(accepted, Ok(Accepted::Up(at, _)) if at == entry));
        assert!(matches!(dialled, Some(Ok(Dialled::Up))));
    }
}

#[test]
fn a_wrong_secret_is_refused() {
    for with in ["second", "", "First", "first "] {
        let (accepted, dialled) = handshake("saramago.lit", with);
        assert_eq!(condition(accepted), Condition::NotAuthorized);
        assert_eq!(condition(dialled.expect("it was answered")), Condition::NotAuthorized);
    }
}

#[test]
fn a_domain_without_an_entry_or_without_a_secret_is_unknown() {
    for domain in ["ghost.lit", "pessoa.lit", "", "192.0.2.1"] {
        let (accepted, dialled) = handshake(domain, "");
        assert_eq!(condition(accepted), Condition::HostUnknown, "{domain}");
        assert!(dialled.is_none());
    }
}

#[test]
fn an_error_before_the_header_has_a_header_before_it() {
    let (mut acceptor, mut framer) = acceptor();
    let error = acceptor.frame(only(&mut framer, header("ghost.lit").as_bytes())).expect_err("unknown");
    let farewell = acceptor.farewell(&error);
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    let all = frames(&mut framer, &farewell);
    assert!(matches!(all[..], [Frame::Header(_), Frame::Element(_), Frame::End]), "{all:?}");
}

#[test]
fn another_namespace_is_refused() {
    let (mut acceptor, mut framer) = acceptor();
    let text = header("saramago.lit").replace(NAMESPACE, "jabber:server");
    assert_eq!(condition(acceptor.frame(only(&mut framer, text.as_bytes()))), Condition::InvalidNamespace);
}

#[test]
fn a_stanza_before_the_handshake_is_refused() {
    for element in [
        "<message from='saramago.lit' to='pessoa.lit'/>",
        "<handshake xmlns='jabber:server'>x</handshake>",
        "<handshake/>",
    ] {
        let (mut acceptor, mut framer) = acceptor();
        let sent = acceptor.frame(only(&mut framer, header("saramago.lit").as_bytes()));
        assert!(matches!(sent, Ok(Accepted::Send(_))));
        assert_eq!(condition(acceptor.frame(only(&mut framer, element.as_bytes()))), Condition::NotAuthorized);
    }
}

#[test]
fn a_handshake_without_a_header_is_refused() {
    let (mut acceptor, _) = acceptor();
    let frame = Frame::Element(Bytes::from_static(b"<handshake/>"));
    assert_eq!(condition(acceptor.frame(frame)), Condition::NotAuthorized);
}

#[test]
fn a_refused_header_proves_nothing_for_a_later_one() {
    let (mut acceptor, mut framer) = acceptor();
    let frame = only(&mut framer, header("ghost.lit").as_bytes());
    assert!(acceptor.frame(frame).is_err());
    let frame = Frame::Element(Bytes::from_static(b"<handshake/>"));
    assert_eq!(condition(acceptor.frame(frame)), Condition::NotAuthorized);
}

#[test]
fn an_end_or_an_endless_handshake_is_refused() {
    let (mut acceptor, _) = acceptor();
    assert!(matches!(acceptor.frame(Frame::End), Err(ComponentError::Closed)));
    let large = Frame::TooLarge { head: Bytes::from_static(b"<handshake>"), bytes: 1 << 20 };
    assert_eq!(condition(acceptor.frame(large)), Condition::NotAuthorized);
}

fn dialler() -> Dialler {
    Dialler::new("federation.saramago.lit", secret("x")).0
}

#[test]
fn a_server_that_gives_no_id_is_not_answered() {
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    let frame = only(&mut framer, header("").as_bytes());
    assert_eq!(condition(dialler().frame(frame)), Condition::InvalidNamespace);
}

#[test]
fn a_handshake_that_we_did_not_ask_for_brings_nothing_up() {
    let frame = Frame::Element(Bytes::from_static(b"<handshake/>"));
    assert_eq!(condition(dialler().frame(frame)), Condition::NotAuthorized);
}

#[test]
fn a_second_header_gets_no_second_digest() {
    let mut dialler = dialler();
    let text = header("").replace(" to=''", " id='1'");
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    let frame = only(&mut framer, text.as_bytes());
    assert!(matches!(dialler.frame(frame.clone()), Ok(Dialled::Send(_))));
    assert_eq!(condition(dialler.frame(frame)), Condition::InvalidNamespace);
}

#[test]
fn the_servers_error_is_told() {
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    let text = header("").replace(" to=''", " id='1'");
    let mut dialler = dialler();
    assert!(matches!(dialler.frame(only(&mut framer, text.as_bytes())), Ok(Dialled::Send(_))));
    let error = b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let result = dialler.frame(only(&mut framer, error));
    assert!(matches!(&result, Err(ComponentError::PeerError(_))));
    assert_eq!(condition(result), Condition::Conflict);
}
