//! Streams of an enemy, up to where they are authenticated: each ends with a defined error, on a stream
//! that was opened for it, and nobody is taken for somebody else.

use heteronym_proto::framer::Frame;
use heteronym_proto::header::Header;
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use heteronym_proto::stream_error::Condition;

use crate::end::{AUTH, End, FEATURES, PEER, SUCCESS, US, header};
use crate::name;

const ROOT: &str = "xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";
const FEDERATION: &str = "<stream:features><federation xmlns='urn:xmpp:federation:0'/></stream:features>";

/// Whether `said` is a stream of its own: a header, an error and the end.
fn is_an_error_on_a_stream(said: &str) -> bool {
    let mut framer = heteronym_proto::framer::Framer::new(UNAUTHENTICATED_BYTES);
    let frames = crate::frames(&mut framer, said.as_bytes());
    let [Frame::Header(bytes), Frame::Element(_), Frame::End] = &frames[..] else { return false };
    let header = Header::parse(bytes).expect("our own header");
    header.from.as_deref() == Some(PEER) && header.id.is_some()
}

#[test]
fn what_comes_instead_of_a_header_is_answered_on_a_stream() {
    let endless = format!("<stream:stream {ROOT} a='{}", "x".repeat(UNAUTHENTICATED_BYTES));
    let too_many: String = (0..300).map(|n| format!(" a{n}=''")).collect();
    let cases: Vec<(String, &str)> = [
        ("GET / HTTP/1.1\r\nHost: xmpp.other.isp\r\n\r\n", "not-well-formed"),
        ("\u{16}\u{3}\u{1}", "not-well-formed"),
        ("text", "not-well-formed"),
        ("</stream:stream>", "not-well-formed"),
        ("<!DOCTYPE stream>", "restricted-xml"),
        ("<!-- --><stream:stream>", "restricted-xml"),
        ("<?php?>", "restricted-xml"),
        ("<?xml version='1.1'?><stream:stream>", "bad-namespace-prefix"),
        ("<message from='pessoa.lit' to='saramago.lit'>", "bad-format"),
        ("<stream:stream xmlns='jabber:server'>", "bad-namespace-prefix"),
    ]
    .map(|(text, condition)| (text.to_owned(), condition))
    .into_iter()
    .chain([
        (endless, "policy-violation"),
        (format!("<?xml version='1.1'?><stream:stream {ROOT}>"), "not-well-formed"),
        (format!("<?xml version='1.0' encoding='UTF-16'?><stream:stream {ROOT}>"), "unsupported-encoding"),
        (format!("<stream:stream {ROOT}/>"), "not-well-formed"),
        (format!("<stream:stream {ROOT}{too_many}>"), "policy-violation"),
        (format!("<stream:stream {ROOT} from='{US}' from='{US}' to='{PEER}'>"), "not-well-formed"),
        (format!("<stream:stream {ROOT} from='{US}' to='{PEER}' xml:lang='{}'>", "x".repeat(65)), "policy-violation"),
        (format!("<stream:stream {ROOT} from='&lol;' to='{PEER}'>"), "restricted-xml"),
        (format!("<stream:features {ROOT}>"), "bad-format"),
        (header(US, PEER).replace("jabber:server", "jabber:client"), "invalid-namespace"),
        (header(US, PEER).replace("1.0", "0.9"), "unsupported-version"),
    ])
    .collect();
    for (text, condition) in cases {
        for mut end in [End::receiving(), End::receiving_plain(), End::receiving_authenticated()] {
            end.hear(&text);
            assert_eq!(end.ended_with(), Some(condition), "{text:.99}");
            let said = end.says();
            assert!(is_an_error_on_a_stream(&said), "{text:.99}: {said}");
            assert!(end.established.is_none() && !end.starts_tls);
        }
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_no_header() {
    let mut end = End::receiving();
    end.hear([header(US, PEER).replace('>', " a='").as_bytes(), b"\xc3\x28'>"].concat());
    assert_eq!(end.ended_with(), Some("unsupported-encoding"));
    assert!(is_an_error_on_a_stream(&end.says()));
}

/// However it arrives, no more is kept than an honest header needs.
#[test]
fn a_header_that_never_ends_is_not_kept() {
    for piece in [1, 100, 4096] {
        let mut end = End::receiving();
        end.hear(format!("<stream:stream {ROOT} a='"));
        let mut sent = 0;
        while end.ended_with().is_none() {
            end.hear("x".repeat(piece));
            sent += piece;
            assert!(end.framer.buffered() <= UNAUTHENTICATED_BYTES + piece);
            assert!(sent <= 2 * UNAUTHENTICATED_BYTES, "it is waited for without end");
        }
        assert_eq!(end.ended_with(), Some("policy-violation"));
    }
}

/// White space before a header, or between elements, is nothing, however much of it comes.
#[test]
fn white_space_is_not_kept() {
    let mut end = End::receiving();
    for _ in 0..100 {
        end.hear(" ".repeat(UNAUTHENTICATED_BYTES));
        assert_eq!(end.framer.buffered(), 0);
    }
    end.hear(header(US, PEER));
    end.hear(" ".repeat(10 * UNAUTHENTICATED_BYTES));
    end.hear(AUTH);
    assert_eq!(end.judged, [name(US)]);
}

/// The name that the certificate has to prove is the one in the header, however it is written.
#[test]
fn a_host_is_judged_by_the_name_that_its_header_means() {
    for from in ["xmpp.my.isp", "XMPP.My.ISP.", "&#120;mpp.my.isp", "xmpp&#x2E;my.isp", "ｘmpp.my.isp"] {
        let mut end = End::receiving();
        end.hear(header(from, PEER));
        end.hear(AUTH);
        assert_eq!(end.judged, [name(US)], "{from}");
        end.hear(header(US, PEER));
        assert_eq!(end.established, Some((name(US), Some("pt".to_owned()))), "{from}");
    }
}

#[test]
fn a_header_whose_from_is_no_host_is_refused() {
    for from in [
        "u@xmpp.my.isp",
        "xmpp.my.isp/r",
        "xmpp.my.isp&#47;r",
        " xmpp.my.isp",
        "xmpp.my.isp&#10;",
        "xmpp..isp",
        "[::1]",
        "192.0.2.1",
        "",
        // Our own name, in every disguise.
        PEER,
        "XMPP.other.isp.",
        "&#120;mpp.other.isp",
        "xmpp。other．isp",
    ] {
        let mut end = End::receiving();
        end.hear(header(from, PEER));
        assert_eq!(end.ended_with(), Some("improper-addressing"), "{from}");
    }
}

/// An attribute with a prefix is another attribute, whatever it is called.
#[test]
fn a_prefixed_from_names_nobody() {
    let mut end = End::receiving();
    let bound = header(US, PEER).replace(" from=", " xmlns:x='urn:x' x:from=");
    end.hear(&bound);
    assert_eq!(end.ended_with(), Some("improper-addressing"));
    let mut end = End::receiving();
    end.hear(bound.replace(" x:from=", " from='xmpp.third.isp' x:from="));
    end.hear(AUTH);
    assert_eq!(end.judged, [name("xmpp.third.isp")]);
    let mut end = End::receiving();
    end.hear(header(US, PEER).replace(" from=", " x:from="));
    assert_eq!(end.ended_with(), Some("bad-namespace-prefix"), "a prefix that nobody has bound");
}

#[test]
fn a_header_to_us_may_be_written_in_any_way() {
    for (to, is_ours) in [
        ("XMPP.Other.ISP.", true),
        ("&#120;mpp.other.isp", true),
        ("xmpp.other.isp/r", false),
        ("u@xmpp.other.isp", false),
        ("xmpp.other.isp.evil.lit", false),
        ("evil.lit&#47;@xmpp.other.isp", false),
    ] {
        for mut end in [End::receiving(), End::receiving_plain()] {
            end.hear(header(US, to));
            assert_eq!(end.ended_with(), (!is_ours).then_some("host-unknown"), "{to}");
        }
    }
}

#[test]
fn the_same_host_may_be_written_otherwise_after_the_restart() {
    let mut end = End::receiving_authenticated();
    end.hear(header("XMPP&#46;my.isp.", PEER));
    assert_eq!(end.established.map(|(peer, _)| peer), Some(name(US)));
}

/// What a receiving end may hear between its features and the end of SASL, instead of `<auth/>`.
#[test]
fn whatever_is_not_authentication_ends_a_stream_that_needs_it() {
    let large = format!("<x xmlns='urn:x'>{}</x>", "x".repeat(UNAUTHENTICATED_BYTES));
    let deep = format!("<x xmlns='urn:x'>{}{}</x>", "<a>".repeat(1000), "</a>".repeat(1000));
    let cases = [
        ("<message from='pessoa.lit' to='saramago.lit'/>", "not-authorized"),
        ("<stream:features/>", "not-authorized"),
        ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "not-authorized"),
        ("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "not-authorized"),
        ("<handshake xmlns='jabber:component:accept'/>", "not-authorized"),
        ("<db:result xmlns:db='jabber:server:dialback' from='a.lit' to='b.lit'>x</db:result>", "not-authorized"),
        ("<db:result from='a.lit' to='b.lit'>x</db:result>", "bad-namespace-prefix"),
        ("<chosen xmlns='urn:xmpp:federation:0'/>", "not-authorized"),
        ("text", "not-well-formed"),
        ("<a></b>", "not-well-formed"),
        ("<!-- -->", "restricted-xml"),
        ("<x>&lol;</x>", "restricted-xml"),
        (&large, "policy-violation"),
        (&deep, "policy-violation"),
    ];
    let second = header(US, PEER);
    for (text, condition) in cases.into_iter().chain([(second.as_str(), "not-well-formed")]) {
        for mut end in [End::receiving(), End::receiving_plain()] {
            end.hear(header(US, PEER));
            end.says();
            end.hear(text);
            assert_eq!(end.ended_with(), Some(condition), "{text:.99}");
            assert!(end.says().ends_with("</stream:error></stream:stream>"), "{text:.99}");
            assert!(end.judged.is_empty() && !end.starts_tls);
        }
    }
}

/// A server that we dialled, up to where `hostile` comes.
fn dialled(steps: usize, hostile: &str) -> End {
    let script = [header(PEER, US), FEATURES.to_owned(), SUCCESS.to_owned(), header(PEER, US)];
    let mut end = End::dialling();
    script[..steps].iter().for_each(|text| end.hear(text));
    assert!(end.ended_with().is_none() && end.error.is_none());
    end.hear(hostile);
    end
}

#[test]
fn a_server_is_left_whatever_it_says_out_of_order() {
    let features = |inner: &str| format!("<stream:features>{inner}</stream:features>");
    let in_another = |what: &str| format!("<x xmlns='urn:x'>{what}</x>");
    let federation = "<federation xmlns='urn:xmpp:federation:0'/>";
    let large = features(&"<x xmlns='urn:x'/>".repeat(1000));
    let cases: Vec<(usize, String, &str)> = vec![
        (0, "SSH-2.0-OpenSSH_9.9\r\n".into(), "not-well-formed"),
        (0, FEATURES.into(), "bad-namespace-prefix"),
        (0, header(PEER, US).replace("1.0", "0.9"), "unsupported-version"),
        (0, header("saramago.lit", US), "invalid-from"),
        (0, header("xmpp.other.isp.evil.lit", US), "invalid-from"),
        (1, header(PEER, US), "not-well-formed"),
        (1, SUCCESS.into(), "not-authorized"),
        (1, FEDERATION.into(), "unsupported-feature"),
        (1, features(""), "unsupported-feature"),
        (
            1,
            features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"),
            "unsupported-feature",
        ),
        (1, FEATURES.replace("xmpp-sasl", "xmpp-sasl2"), "unsupported-feature"),
        (1, FEATURES.replace("stream:features", "features"), "not-authorized"),
        (1, features(&in_another("<mechanism>EXTERNAL</mechanism>")), "unsupported-feature"),
        (1, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".into(), "not-authorized"),
        (1, "<message from='pessoa.lit' to='saramago.lit'/>".into(), "not-authorized"),
        (1, large, "policy-violation"),
        (2, FEATURES.into(), "not-authorized"),
        (2, "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</challenge>".into(), "not-authorized"),
        (2, "<success xmlns='urn:x'/>".into(), "not-authorized"),
        (2, header(PEER, US), "not-well-formed"),
        (3, FEDERATION.into(), "bad-namespace-prefix"),
        (3, header("xmpp.third.isp", US), "invalid-from"),
        (4, SUCCESS.into(), "not-authorized"),
        (4, FEATURES.into(), "unsupported-feature"),
        (4, features(&in_another(federation)), "unsupported-feature"),
        (4, FEDERATION.replace("federation:0", "federation:1"), "unsupported-feature"),
        (4, "<chosen xmlns='urn:xmpp:federation:0'/>".into(), "not-authorized"),
        (4, "<db:result xmlns:db='jabber:server:dialback'/>".into(), "not-authorized"),
    ];
    for (steps, text, condition) in cases {
        let end = dialled(steps, &text);
        assert_eq!(end.ended_with(), Some(condition), "{steps}: {text:.99}");
        assert!(end.established.is_none(), "{steps}: {text:.99}");
    }
    assert!(dialled(4, FEDERATION).established.is_some(), "the twin");
}

/// What comes behind the error that ended a stream is not looked at.
#[test]
fn a_stream_that_has_ended_takes_nothing_more() {
    let mut end = End::receiving();
    end.hear(header("saramago.lit", "saramago.lit"));
    assert_eq!(end.told(), None::<Condition>);
    assert_eq!(end.ended_with(), Some("host-unknown"));
    end.says();
    end.hear(AUTH);
    assert_eq!((end.says().as_str(), end.judged.len()), ("", 0));
}
