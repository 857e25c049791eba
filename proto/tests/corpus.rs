//! The corpus of hostile and harmless stanzas: every row of its verdicts is a check.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use heteronym_proto::checker::{Malformed, Scope, Shapes, check};
use heteronym_proto::framer::{Frame, Framer, FramingError};
use heteronym_proto::limits::Limits;
use heteronym_proto::stanza::{Address, NotAStanza, Stanzas, forward, read};

/// What the corpus stands behind: its header binds `db` as well.
const HEADER: &[u8] = b"<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
    xmlns:stream='http://etherx.jabber.org/streams' from='a.example' to='b.example' version='1.0'>";
const SCOPE: Scope = Scope::DIALBACK;
/// What follows a case; nothing of the case may bleed into it.
const NEXT: &[u8] = b"<presence from='a.example' to='b.example'/>";

struct Row {
    file: String,
    class: String,
    expected: String,
    note: String,
    bytes: Bytes,
}

/// Why a case does not go through.
#[derive(Debug)]
#[expect(dead_code, reason = "shown when a verdict is not the expected one")]
enum Refusal {
    Framing(FramingError),
    Malformed(Malformed),
    TooLarge,
    /// Not the case and what follows it, but these.
    Frames(Vec<Frame>),
}

fn rows() -> Vec<Row> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let verdicts = fs::read_to_string(folder.join("VERDICTS.tsv")).expect("the corpus has verdicts");
    verdicts.lines().skip(1).map(|line| row(&folder, line)).collect()
}

fn row(folder: &Path, line: &str) -> Row {
    let mut fields = line.split('\t').map(str::to_owned);
    let mut field = || fields.next().unwrap_or_default();
    let file = field();
    let bytes = fs::read(folder.join(&file)).expect("every row has its file").into();
    Row { file, class: field(), expected: field(), note: field(), bytes }
}

fn bytes_of(file: &str) -> Bytes {
    rows().into_iter().find(|row| row.file == file).map(|row| row.bytes).expect("a row of that name")
}

/// Cuts and checks a case as a stream does, in pieces of so many bytes.
fn judge(bytes: &[u8], piece: usize) -> Result<(), Refusal> {
    let mut framer = Framer::new(Limits::default().stanza_bytes);
    let mut frames = Vec::new();
    for piece in [HEADER, bytes, NEXT].concat().chunks(piece) {
        framer.push(BytesMut::from(piece));
        while let Some(frame) = framer.next_frame().map_err(Refusal::Framing)? {
            frames.push(frame);
        }
    }
    match &frames[1..] {
        [Frame::Element(case), Frame::Element(next)] if next == NEXT => {
            check(case, &SCOPE).map_err(Refusal::Malformed)?;
            Ok(())
        }
        [Frame::TooLarge { .. }, Frame::Element(next)] if next == NEXT => Err(Refusal::TooLarge),
        others => Err(Refusal::Frames(others.to_vec())),
    }
}

#[test]
fn every_verdict_is_ours() {
    let rows = rows();
    assert!(rows.len() > 150, "{} rows", rows.len());
    for row in rows {
        let verdict = judge(&row.bytes, usize::MAX);
        // Names that only the fifth edition allows are refused: see the checker's table of names.
        let expected = match row.expected.as_str() {
            "accept" => true,
            "reject" | "either" | "policy" => false,
            other => panic!("{}: an unknown verdict {other}", row.file),
        };
        assert_eq!(verdict.is_ok(), expected, "{} ({}): {verdict:?}", row.file, row.class);
    }
}

#[test]
fn no_verdict_depends_on_the_pieces() {
    for row in rows() {
        let whole = judge(&row.bytes, usize::MAX);
        for piece in [1, 7] {
            assert_eq!(judge(&row.bytes, piece).is_ok(), whole.is_ok(), "{} in pieces of {piece}", row.file);
        }
    }
}

#[test]
fn the_checker_does_not_rely_on_the_framer() {
    for row in rows().into_iter().filter(|row| row.expected == "reject") {
        let is_too_large = matches!(judge(&row.bytes, usize::MAX), Err(Refusal::TooLarge));
        assert_ne!(check(&row.bytes, &SCOPE).is_ok(), !is_too_large, "{}", row.file);
    }
}

#[test]
fn what_is_restricted_is_called_so() {
    for row in rows().into_iter().filter(|row| row.class == "restricted" && !row.file.contains("bom")) {
        let fault = check(&row.bytes, &SCOPE).unwrap_err();
        assert_eq!(fault.stream_error().condition.as_str(), "restricted-xml", "{}", row.file);
    }
}

#[test]
fn what_is_accepted_is_forwarded_unless_a_router_must_not() {
    for row in rows().into_iter().filter(|row| row.expected == "accept" && !row.note.starts_with("ROUTER")) {
        let stanza = read(&row.bytes, &SCOPE).unwrap();
        assert_eq!((stanza.from_domain(), stanza.to_domain()), ("a.example", "b.example"), "{}", row.file);
        assert_eq!(forward(&stanza, &SCOPE, None), row.bytes.trim_ascii(), "{}", row.file);
    }
}

#[test]
fn what_a_router_must_not_forward_as_it_stands_is_known() {
    for row in rows().into_iter().filter(|row| row.note.starts_with("ROUTER")) {
        let outcome = read(&row.bytes, &SCOPE);
        let is_handled = match &row.file[..3] {
            "010" | "238" | "240" => matches!(outcome, Err(NotAStanza::OtherElement(_))),
            "237" => matches!(outcome, Err(NotAStanza::Address { which: Address::From, .. })),
            "235" => outcome.is_ok_and(|s| s.from_domain() == "a.example" && s.to_domain() == "b.example"),
            "241" => outcome.is_ok_and(|s| s.from() == "a@a.example"),
            _ => panic!("{}: no check for this row", row.file),
        };
        assert!(is_handled, "{}", row.file);
    }
}

#[test]
fn a_component_may_name_its_namespace_and_it_goes_no_further() {
    let bytes = bytes_of("238-ok-explicit-component-ns.xml");
    let stanza = read(&bytes, &Scope::COMPONENT).unwrap();
    let forwarded = forward(&stanza, &Scope::SERVER, None);
    assert_eq!(*forwarded, *b"<message from='a@a.example' to='b@b.example'/>");
}

/// A block of a stream holds what the framer cuts and [`read`] takes, up to the first that is none.
#[test]
fn stanzas_are_read_from_a_block_as_each_by_itself() {
    let good = "<message from='a@a.example' to='b@b.example'><body>\u{e9}</body></message>\n".as_bytes();
    for row in rows().into_iter().filter(|row| row.bytes.len() < 4096) {
        let block = [good, &row.bytes, good].concat();
        let mut framer = Framer::new(Limits::default().stanza_bytes);
        framer.push(BytesMut::from(&[HEADER, &block].concat()[..]));
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        let frames = std::iter::from_fn(|| framer.next_frame().ok().flatten());
        let stanzas = frames.map_while(|frame| match frame {
            Frame::Element(bytes) => read(&bytes, &SCOPE).ok().map(|stanza| stanza.bytes().to_vec()),
            Frame::Header(_) | Frame::TooLarge { .. } | Frame::End => None,
        });
        let (stanzas, mut shapes) = (stanzas.collect::<Vec<_>>(), Shapes::default());
        assert!(!stanzas.is_empty());
        // The second time their shapes are known.
        for _ in 0..2 {
            let found = Stanzas::new(&block, &SCOPE, &mut shapes).map(|stanza| stanza.bytes().to_vec());
            assert_eq!(found.collect::<Vec<_>>(), stanzas, "{}", row.file);
        }
    }
}

#[test]
fn a_block_is_left_where_it_is_cut() {
    let stanza = "<message from='a@a.example' to='b@b.example'><body>\u{e9}\u{1f600}</body></message>";
    let (block, mut shapes) = (stanza.repeat(3), Shapes::default());
    for end in 0..=block.len() {
        let mut stanzas = Stanzas::new(&block.as_bytes()[..end], &SCOPE, &mut shapes);
        assert_eq!(stanzas.by_ref().count(), end / stanza.len(), "{end}");
        assert_eq!(stanzas.taken(), end / stanza.len() * stanza.len());
    }
}
