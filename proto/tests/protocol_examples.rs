//! docs/protocol.md, held against the crate: every XML example, table of words and test vector.

use std::collections::{BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};
use heteronym_proto::acks::{self, Ack};
use heteronym_proto::checker::Scope;
use heteronym_proto::control::{Claim, Control, NAMESPACE};
use heteronym_proto::element::Element;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::header::Header;
use heteronym_proto::limits::CONTROL_BYTES;
use heteronym_proto::name::Name;
use heteronym_proto::negotiation::{Negotiation, Output};
use heteronym_proto::stanza;
use heteronym_proto::stream_error::StreamError;
use heteronym_proto::suite::Suite;
use heteronym_proto::transcript::{Context, Exporter, KemKeyStatement, Resumption};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");
const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// The fenced blocks of `language` in `text`.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

/// What stands between a heading and the next one.
fn section(heading: &str) -> &'static str {
    let rest = DOCUMENT.split(&format!("\n{heading}\n")).nth(1).expect("the heading is there");
    rest.split("\n#").next().unwrap_or(rest)
}

/// An example without the line breaks that are there for the reader only.
fn compact(example: &str) -> String {
    example.lines().map(str::trim).fold(String::new(), |mut joined, line| {
        let is_between_tags = joined.is_empty() || joined.ends_with('>') || line.starts_with('<');
        joined.push_str(if is_between_tags { "" } else { " " });
        joined + line
    })
}

/// The frames of an example; where it has no header, those behind one.
fn frames(example: &str) -> Vec<Frame> {
    let example = compact(example);
    let has_header = example.starts_with("<?xml") || example.starts_with("<stream:stream");
    let mut framer = Framer::new(CONTROL_BYTES);
    if !has_header {
        framer.push(BytesMut::from(HEADER));
        framer.next_frame().expect("a header");
    }
    framer.push(BytesMut::from(example.as_str()));
    std::iter::from_fn(|| framer.next_frame().expect("an example can be framed")).collect()
}

fn examples() -> Vec<Frame> {
    blocks(DOCUMENT, "xml").into_iter().flat_map(frames).collect()
}

fn controls() -> Vec<Control> {
    let control = |frame| match frame {
        Frame::Element(bytes) => Control::read(&Element::parse(&bytes, &Scope::SERVER).ok()?).ok(),
        Frame::Header(_) | Frame::TooLarge { .. } | Frame::End => None,
    };
    examples().into_iter().filter_map(control).collect()
}

/// Checks an element of an example; the name of a control element comes back.
fn check(bytes: &Bytes) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if let Ok(stanza) = stanza::read(bytes, &Scope::SERVER) {
        assert_eq!(stanza::forward(&stanza, &Scope::SERVER, None), bytes.as_ref(), "{text}");
        return None;
    }
    let element = Element::parse(bytes, &Scope::SERVER).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(element.to_bytes("jabber:server"), bytes, "{text}");
    if element.namespace() == acks::NAMESPACE {
        let ack = Ack::read(&element).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(ack.to_element().to_bytes("jabber:server"), bytes, "{text}");
        return None;
    }
    if element.namespace() != NAMESPACE {
        assert_eq!(StreamError::from_element(&element).is_some(), element.name() == "error", "{text}");
        return None;
    }
    let control = Control::read(&element).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(control.to_bytes(), bytes, "{text}");
    Some(element.name().to_owned())
}

#[test]
fn every_example_is_read_and_written_alike() {
    let mut controls = BTreeSet::new();
    for frame in examples() {
        match frame {
            Frame::Header(bytes) => {
                let header = Header::parse(&bytes).unwrap();
                assert_eq!(header.to_bytes(), bytes);
            }
            Frame::Element(bytes) => controls.extend(check(&bytes)),
            Frame::End => (),
            Frame::TooLarge { .. } => panic!("an example is too large"),
        }
    }
    let all = "activate active chosen deactivate go hold identity identity-request refused request response \
         resume-pairs resumed-pairs undelivered";
    assert_eq!(controls.iter().map(String::as_str).collect::<Vec<_>>().join(" "), all);
}

/// Lets a negotiation read the first, third, fifth … example and say the second, fourth, sixth ….
fn converse(mut negotiation: Negotiation, dialogue: &[&str]) {
    for exchange in dialogue.chunks(2) {
        let mut said = String::new();
        for frame in frames(exchange[0]) {
            let (next, outputs) = negotiation.frame(frame).expect("the example is accepted");
            let (next, outputs) = judged(next, outputs);
            negotiation = next;
            for output in outputs {
                if let Output::Send(bytes) = output {
                    said.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
                }
            }
        }
        assert_eq!(said, exchange.get(1).map(|answer| compact(answer)).unwrap_or_default());
    }
}

/// Finds every certificate good.
fn judged(negotiation: Negotiation, outputs: Vec<Output>) -> (Negotiation, Vec<Output>) {
    if outputs.iter().any(|output| matches!(output, Output::Judge(_))) {
        negotiation.judged(Ok(())).expect("trusted")
    } else {
        (negotiation, outputs)
    }
}

#[test]
fn both_sides_negotiate_as_documented() {
    let (us, peer) = (name("xmpp.my.isp"), name("xmpp.other.isp"));
    let plain = blocks(section("### Opening with STARTTLS"), "xml");
    converse(Negotiation::accept_plain(us.clone(), "3f1c".to_owned()), &plain);
    let secured = blocks(section("### Authenticating"), "xml");
    converse(Negotiation::accept_secured(us.clone(), "9ab0".to_owned()), &secured);
    let (dialling, outputs) = Negotiation::dial(peer, us);
    assert_eq!(outputs, [Output::Send(compact(secured[0]).into())]);
    converse(dialling, &secured[1..]);
}

/// What stands in backticks in the rows of a section's table, row by row.
fn table_words(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.map(|row| row.split('`').skip(1).step_by(2).collect()).collect()
}

#[test]
fn every_refusal_is_ours_with_its_condition() {
    let (refusals, _errors) = section("### Refusals").split_once("The reason counts").unwrap();
    let rows: Vec<_> = table_words(refusals).into_iter().map(|words| words[words.len() - 2..].to_vec()).collect();
    for row in &rows {
        let (condition, reason) = (row[0], row[1]);
        let xml = format!(
            "<refused xmlns='{NAMESPACE}' id='1'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{reason}</refused>"
        );
        assert_eq!(check(&Bytes::from(xml)).as_deref(), Some("refused"));
    }
    assert_eq!(rows.len(), 10);
}

#[test]
fn every_suite_and_reason_is_known() {
    let suites = table_words(section("### Suites"));
    assert!(suites.iter().all(|row| Suite::parse(row[0]).is_some()));
    assert_eq!(suites.len(), 5);
    let reasons = table_words(section("### Numbers and undelivered stanzas"));
    for reason in &reasons {
        check(&Bytes::from(format!("<undelivered xmlns='{NAMESPACE}' n='1' reason='{}'/>", reason[0])));
    }
    assert_eq!(reasons.len(), 5);
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// The test vectors by name; continued lines are joined.
struct Vectors(HashMap<&'static str, String>);

impl Vectors {
    fn read() -> Self {
        let (mut values, mut current) = (HashMap::<_, String>::new(), "");
        for line in blocks(DOCUMENT, "vectors")[0].lines() {
            let value = match line.split_once(" =") {
                Some((name, value)) => {
                    current = name;
                    value
                }
                None => line,
            };
            values.entry(current).or_default().push_str(value.trim());
        }
        Self(values)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no vector {name}")).trim_matches('"')
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).expect("hexadecimal")
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().expect("a value of that length")
    }

    fn name(&self, vector: &str) -> Name {
        name(self.text(vector))
    }

    fn context(&self) -> Context {
        let suite = |name| Suite::parse(self.text(name)).expect("a suite");
        Context {
            aid: self.array("aid"),
            exporter: Exporter::new(&self.array("E")),
            host_i: self.name("host_I"),
            host_r: self.name("host_R"),
            domain_i: self.name("domain_I"),
            domain_r: self.name("domain_R"),
            leaf_i: self.array("leaf_I"),
            leaf_r: self.array("leaf_R"),
            kem_i: Some(self.array("kem_I")),
            kem_r: None,
            suite_i: suite("suite_I"),
            suite_r: suite("suite_R"),
        }
    }
}

#[test]
fn a_kem_keys_statement_has_the_documented_bytes() {
    let v = Vectors::read();
    let (domain, host, leaf, key) = (v.name("domain_I"), v.name("host_I"), v.array("leaf_I"), v.bytes("kem_key"));
    let date = |name| u64::from_be_bytes(v.array(name));
    let statement = KemKeyStatement {
        domain: &domain,
        host: &host,
        leaf: &leaf,
        key: &key,
        not_before: date("kem_not_before"),
        not_after: date("kem_not_after"),
    };
    assert_eq!(statement.to_bytes(), v.bytes("K"));
    assert_eq!(statement.hash(&v.bytes("kem_signature")), v.array("kem_I"));
}

#[test]
fn transcripts_and_keys_are_the_documented_ones() {
    let (v, context) = (Vectors::read(), Vectors::read().context());
    assert_eq!(context.request_label(), v.array("request_label"));
    assert_eq!(context.response_label(), v.array("response_label"));
    assert_eq!(context.request(&v.bytes("ct_I")), v.bytes("m1"));
    let m2 = context.response(&v.bytes("ct_I"), &v.bytes("sig_I"), &v.bytes("ct_R"));
    assert_eq!(m2, v.bytes("m2"));
    let schedule = context.schedule(&m2, &v.bytes("sig_R"), &v.array("K_I"), &v.array("K_R"));
    assert_eq!(schedule.confirm_responder.as_bytes(), &v.array("conf_R"));
    assert_eq!(schedule.confirm_initiator.as_bytes(), &v.array("conf_I"));
    assert_eq!(*schedule.resume_secret, v.array("rs"));
    assert_eq!(schedule.resume_id, v.array("rid"));
}

#[test]
fn the_examples_of_a_resumption_have_the_values_of_the_vectors() {
    let (v, exporter) = (Vectors::read(), Exporter::new(&Vectors::read().array("E_2")));
    let (dialler, other) = (v.name("host_I"), v.name("host_R"));
    let here = Resumption { exporter: &exporter, dialler: &dialler, other: &other };
    let (rs, rid) = (v.array("rs"), v.array("rid"));
    let tag_1 = here.tag_1(&rs, &rid);
    let tag_2 = here.tag_2(&rs, &rid, &tag_1);
    assert_eq!((tag_1, tag_2), (v.array("tag_1"), v.array("tag_2")));
    let all = controls();
    let claims = all.iter().find_map(|control| match control {
        Control::ResumePairs(list) => Some(&list.claims),
        _other => None,
    });
    assert_eq!(claims.and_then(|claims| claims.first()), Some(&Claim { rid, tag: tag_1 }));
    let resumed =
        |control: &Control| matches!(control, Control::ResumedPairs(list) if list.tags == [Some(tag_2), None]);
    assert!(all.iter().any(resumed));
}

#[test]
fn the_examples_of_a_run_have_the_values_of_the_vectors() {
    let v = Vectors::read();
    let mut seen = 0;
    for control in controls() {
        match control {
            Control::Request(request) => {
                assert_eq!((request.aid, request.key), (v.array("aid"), v.bytes("ct_I")));
                assert_eq!(request.signature, v.bytes("sig_I"));
                assert_eq!((request.initiator_cert, request.responder_cert), (v.array("leaf_I"), v.array("leaf_R")));
                assert_eq!((request.initiator_kem, request.responder_kem), (Some(v.array("kem_I")), None));
                seen += 1;
            }
            Control::Response(response) => {
                assert_eq!((response.aid, response.key), (v.array("aid"), v.bytes("ct_R")));
                assert_eq!((response.signature, response.confirm), (v.bytes("sig_R"), v.bytes("conf_R")));
                seen += 1;
            }
            Control::Activate(activate) => {
                assert_eq!((activate.aid, activate.confirm), (v.array("aid"), v.bytes("conf_I")));
                seen += 1;
            }
            Control::Chosen
            | Control::IdentityRequest(_)
            | Control::Identity { .. }
            | Control::Active { .. }
            | Control::Refused { .. }
            | Control::Deactivate { .. }
            | Control::Undelivered { .. }
            | Control::ResumePairs(_)
            | Control::ResumedPairs(_)
            | Control::Hold(_)
            | Control::Go(_) => (),
        }
    }
    assert_eq!(seen, 3);
}
