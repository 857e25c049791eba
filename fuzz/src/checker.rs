//! The checker: what it passes another parser reads alike, and a stanza stays one when it is forwarded.

use std::borrow::Cow;

use bytes::Bytes;
use heteronym_proto::checker::{Scope, Shapes};
use heteronym_proto::jid::domain_of;
use heteronym_proto::stanza::{Stanza, Stanzas, forward, read};

use crate::by_rxml;
use crate::differences::{Outcome, RXML};
use crate::reading::ours;

const SCOPES: [Scope; 3] = [Scope::SERVER, Scope::DIALBACK, Scope::COMPONENT];

/// Stanzas whose shapes the stream knows.
const KNOWN: &[u8] = b"<message id='1' type='chat' from='a@a.lit/x' to='b@b.lit'><body>text</body></message>\
    <message from='a@a.example' to='b@b.example'><body>hi</body></message>\
    <message from='a@a.example' to='b@b.example'/>\
    <presence from=\"a@a.lit\" to=\"b@b.lit\" xml:lang='pt'><show>away</show><priority>1</priority></presence>\
    <iq from='a.lit' id='1' to='b.lit' type='get'><query xmlns='urn:q'/></iq>\
    <iq from='a.lit' to='b.lit' type='result' id='1'/>";

/// Checks `data` as one element, and forwards it if it is a stanza.
///
/// # Panics
/// If rxml differs in a way that is not known, or what is forwarded is not what was read.
pub fn run(data: &[u8]) {
    let (ours, theirs) = (&ours(data), &by_rxml::read(data));
    let outcome = Outcome { case: data, ours, theirs };
    let is_known = outcome.is_alike() || outcome.explained_by(&RXML).is_some();
    assert!(is_known, "ours: {ours:?}\nrxml: {theirs:?}");
    let bytes = Bytes::copy_from_slice(data);
    for from in SCOPES {
        let mut shapes = Shapes::default();
        assert_eq!(Stanzas::new(KNOWN, &from, &mut shapes).count(), 6);
        let mut block = Stanzas::new(data, &from, &mut shapes);
        let first = block.next();
        // In a block, what comes behind the last bracket is not part of the text.
        match read(without_white_end(data), &from) {
            // A larger one may be more than what is looked at together.
            Ok(stanza) if data.len() <= 4096 => assert_eq!(first, Some(stanza), "what is read from a block"),
            Ok(stanza) => assert!(first.is_none_or(|first| first == stanza)),
            // What follows may be wrong.
            Err(_) => assert!(first.is_none_or(|first| read(first.bytes(), &from).is_ok())),
        }
        if let Ok(stanza) = read(&bytes, &from) {
            let [sender, recipient] = [stanza.from(), stanza.to()].map(|jid| domain_of(&jid).map(Cow::into_owned));
            assert_eq!((sender.as_deref(), recipient.as_deref()), (Ok(stanza.from_domain()), Ok(stanza.to_domain())));
            SCOPES.iter().for_each(|to| forward_to(&stanza, to));
        }
    }
}

fn without_white_end(data: &[u8]) -> &[u8] {
    let last = data.iter().rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    &data[..last.map_or(0, |last| last + 1)]
}

fn forward_to(stanza: &Stanza<'_>, to: &Scope) {
    for lang in [None, Some("pt")] {
        let forwarded = forward(stanza, to, lang);
        let again = read(&forwarded, to).expect("what is forwarded passes the next checker");
        assert_eq!(addressed(&again), addressed(stanza));
        assert_eq!(forward(&again, to, lang), forwarded, "it is mended once");
    }
}

fn addressed(stanza: &Stanza<'_>) -> [Option<String>; 6] {
    let [from_domain, to_domain] = [stanza.from_domain().into(), stanza.to_domain().into()].map(Some);
    [from_domain, to_domain, Some(stanza.from()), Some(stanza.to()), stanza.id(), stanza.type_()]
        .map(|part| part.map(Cow::into_owned))
}
