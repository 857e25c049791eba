//! What one of our own servers may send over its component link.

use std::sync::Arc;

use bytes::Bytes;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::host_iq;
use heteronym_proto::limits::DEPTH;
use heteronym_proto::local_stream::{LocalStream, Verdict};
use heteronym_proto::stream_error::Condition;

use crate::{frames, name};

const HOST: &str = "xmpp.my.isp";

/// The link of an entry with saramago.lit; camoes.lit is another's.
fn stream() -> LocalStream {
    hosting(&["saramago.lit", "camoes.lit"])
}

fn hosting(domains: &[&str]) -> LocalStream {
    let hosted = (0..).zip(domains).map(|(entry, domain)| (name(domain), entry));
    LocalStream::new(name(HOST), Arc::new(hosted.collect()), 0, 10_000)
}

fn element(text: &str) -> Frame {
    Frame::Element(Bytes::from(text.to_owned()))
}

/// The name and text of an answer.
fn answer(verdict: Verdict<'_>) -> (&'static str, Option<String>) {
    match verdict {
        Verdict::Answer(why, answer) => (why, answer.map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))),
        other => panic!("{other:?}"),
    }
}

fn error(verdict: Verdict<'_>) -> Condition {
    match verdict {
        Verdict::Error(error) => error.condition,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stanza_is_routed_and_mended_for_the_host_stream() {
    let text = "<message xmlns='jabber:component:accept' from='u@saramago.lit/r' to='v@pessoa.lit'/>";
    let (mut stream, frame) = (stream(), element(text));
    let Verdict::Route(stanza, bytes) = stream.frame(&frame) else { panic!("not routed") };
    assert_eq!((stanza.from_domain(), stanza.to_domain()), ("saramago.lit", "pessoa.lit"));
    assert_eq!(*bytes, *b"<message from='u@saramago.lit/r' to='v@pessoa.lit'/>");
}

#[test]
fn a_foreign_from_is_answered_not_authorized() {
    for from in ["camoes.lit", "ghost.lit", "u@pessoa.lit", "saramago.lit.evil.lit", "evil.lit/@saramago.lit"] {
        let frame = element(&format!("<message from='{from}' to='pessoa.lit'/>"));
        let (why, answer) = answer(stream().frame(&frame));
        assert_eq!(why, "foreign-from");
        assert!(answer.is_some_and(|text| text.contains("<not-authorized ")));
    }
}

#[test]
fn what_may_not_be_answered_is_dropped() {
    for stanza in ["<message type='error'", "<iq type='result'", "<presence type='unavailable'"] {
        let frame = element(&format!("{stanza} from='camoes.lit' to='pessoa.lit'/>"));
        assert_eq!(answer(stream().frame(&frame)), ("foreign-from", None));
    }
}

#[test]
fn what_is_not_well_formed_ends_the_stream() {
    for (content, condition) in [
        ("&nbsp;", "restricted-xml"),
        ("<a></b>", "not-well-formed"),
        ("\u{1}", "not-well-formed"),
        ("<a:b/>", "bad-namespace-prefix"),
    ] {
        let frame = element(&format!("<message id='1' from='u@saramago.lit' to='v@pessoa.lit'>{content}</message>"));
        match stream().frame(&frame) {
            Verdict::Error(error) => assert_eq!(error.condition.as_str(), condition),
            other => panic!("{content}: {other:?}"),
        }
    }
}

#[test]
fn what_goes_beyond_the_limits_is_answered_and_the_link_stays() {
    let deep = format!("{}{}", "<a>".repeat(DEPTH), "</a>".repeat(DEPTH));
    let frame = element(&format!("<message id='1' from='u@saramago.lit' to='v@pessoa.lit'>{deep}</message>"));
    let (why, answer) = answer(stream().frame(&frame));
    assert_eq!(why, "beyond-limits");
    let text = answer.unwrap_or_default();
    assert!(text.contains("to='u@saramago.lit'") && text.contains("id='1'") && text.contains("<policy-violation "));
}

#[test]
fn a_recipient_that_no_domain_is_known_for_does_not_end_the_link() {
    for (to, condition) in [
        ("v@192.0.2.1", "remote-server-not-found"),
        ("v@a_b.lit", "remote-server-not-found"),
        ("v@", "remote-server-not-found"),
        ("@pessoa.lit", "jid-malformed"),
        ("pessoa.lit/", "jid-malformed"),
    ] {
        let frame = element(&format!("<message from='u@saramago.lit' to='{to}'/>"));
        let (why, answer) = answer(stream().frame(&frame));
        assert_eq!(why, "bad-address");
        assert!(answer.is_some_and(|text| text.contains(condition)), "{to}");
    }
    let (why, answer) = answer(stream().frame(&element("<message from='u@saramago.lit'/>")));
    assert_eq!((why, answer.is_some_and(|text| text.contains("<bad-request "))), ("bad-address", true));
}

#[test]
fn a_sender_that_is_none_is_the_servers_own_fault() {
    for stanza in ["<message to='pessoa.lit'/>", "<message from='@x' to='pessoa.lit'/>"] {
        assert_eq!(error(stream().frame(&element(stanza))), Condition::ImproperAddressing);
    }
    let prefixed = "<c:message xmlns:c='jabber:component:accept' from='saramago.lit' to='pessoa.lit'/>";
    assert_eq!(error(stream().frame(&element(prefixed))), Condition::BadNamespacePrefix);
}

#[test]
fn a_stanza_that_is_too_large_is_answered() {
    // One that the framer keeps, and one of which only the start tag is left.
    let text = format!("<message id='1' from='u@saramago.lit' to='v@pessoa.lit'>{}</message>", "x".repeat(20_000));
    let mut framer = Framer::new(10_000);
    let header = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>";
    let mut skipped = frames(&mut framer, (header.to_owned() + &text).as_bytes());
    let skipped = skipped.remove(1);
    assert!(matches!(skipped, Frame::TooLarge { .. }));
    for frame in [element(&text), skipped] {
        let (why, answer) = answer(stream().frame(&frame));
        assert_eq!(why, "too-large");
        assert!(answer.is_some_and(|text| text.contains("<policy-violation ") && text.contains("id='1'")));
    }
}

#[test]
fn a_stanza_to_the_host_itself_is_answered_here() {
    let frame =
        element("<iq from='u@saramago.lit' to='xmpp.my.isp' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>");
    let (why, text) = answer(stream().frame(&frame));
    assert_eq!(why, "to-host");
    assert!(text.is_some_and(|text| text.contains("type='result'")));
    let (why, text) = answer(stream().frame(&element("<message from='u@saramago.lit' to='v@xmpp.my.isp'/>")));
    assert_eq!((why, text.is_some_and(|text| text.contains("<service-unavailable "))), ("to-host", true));
}

#[test]
fn a_host_that_is_a_domain_too_gets_its_stanzas() {
    let (mut stream, to_user) =
        (hosting(&["saramago.lit", HOST]), element("<message from='u@saramago.lit' to='v@xmpp.my.isp'/>"));
    assert!(matches!(stream.frame(&to_user), Verdict::Route(..)));
    let answer = element("<iq from='saramago.lit' to='xmpp.my.isp' type='result' id='p1'/>");
    assert!(matches!(stream.frame(&answer), Verdict::Alive(_)), "and we the answers to our probes");
}

#[test]
fn a_probe_that_is_answered_is_a_sign_of_life() {
    let ping = host_iq::ping(&name(HOST), &name("saramago.lit"), 1);
    assert!(String::from_utf8_lossy(&ping).starts_with("<iq from='xmpp.my.isp' to='saramago.lit'"));
    for kind in ["result", "error"] {
        let frame = element(&format!("<iq from='saramago.lit' to='xmpp.my.isp' type='{kind}' id='p1'/>"));
        assert!(matches!(stream().frame(&frame), Verdict::Alive(_)));
    }
    let foreign = element("<iq from='camoes.lit' to='xmpp.my.isp' type='result' id='p1'/>");
    assert_eq!(answer(stream().frame(&foreign)), ("foreign-from", None));
}

#[test]
fn the_end_of_the_stream_is_told_with_its_error() {
    assert!(matches!(stream().frame(&Frame::End), Verdict::End(None)));
    let text = "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let frame = element(text);
    let mut stream = stream();
    let Verdict::End(Some(error)) = stream.frame(&frame) else { panic!("not the end") };
    assert_eq!(error.condition, Condition::SystemShutdown);
}

#[test]
fn what_is_no_stanza_ends_the_link() {
    for text in ["<handshake/>", "<stream:features/>", "<message xmlns='jabber:client' from='a' to='b'/>"] {
        assert_eq!(error(stream().frame(&element(text))), Condition::UnsupportedStanzaType, "{text}");
    }
    assert_eq!(error(stream().frame(&Frame::Header(Bytes::new()))), Condition::InvalidXml);
}
