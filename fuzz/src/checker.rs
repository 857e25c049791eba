//! The checker: what it passes another parser reads alike, and a stanza stays one when it is forwarded.

use bytes::Bytes;
use heteronym_proto::checker::Scope;
use heteronym_proto::stanza::{Stanza, forward, read};

use crate::by_rxml;
use crate::differences::{Outcome, RXML};
use crate::reading::ours;

const SCOPES: [Scope; 3] = [Scope::SERVER, Scope::DIALBACK, Scope::COMPONENT];

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
        if let Ok(stanza) = read(&bytes, &from) {
            SCOPES.iter().for_each(|to| forward_to(&bytes, &stanza, to));
        }
    }
}

fn forward_to(bytes: &Bytes, stanza: &Stanza<'_>, to: &Scope) {
    for lang in [None, Some("pt")] {
        let forwarded = forward(bytes, stanza, to, lang);
        let again = read(&forwarded, to).expect("what is forwarded passes the next checker");
        assert_eq!(addressed(&again), addressed(stanza));
        assert_eq!(forward(&forwarded, &again, to, lang), forwarded, "it is mended once");
    }
}

fn addressed<'a>(stanza: &'a Stanza<'_>) -> [Option<&'a str>; 6] {
    let domains = [Some(stanza.from_domain()), Some(stanza.to_domain())];
    let [from_domain, to_domain] = domains;
    [from_domain, to_domain, Some(stanza.from()), Some(stanza.to()), stanza.id(), stanza.type_()]
}
