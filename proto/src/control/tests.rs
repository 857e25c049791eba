use super::*;
use crate::checker::Scope;
use crate::identity::KemOffer;
use crate::limits::RESUMED_AT_ONCE;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn identity() -> Identity {
    let kem = KemOffer { not_before: 1, not_after: 2, key: vec![1; 32], signature: vec![2; 64] };
    Identity { domain: name("pessoa.lit"), chain: vec![vec![1, 2], vec![3]], kem: Some(kem) }
}

fn claim(number: u8) -> Claim {
    Claim { rid: [number; 16], tag: [9; 16] }
}

fn every_control() -> Vec<Control> {
    let request = IdentityRequest {
        id: "c1".to_owned(),
        domain: name("saramago.lit"),
        have: Some([7; 32]),
        identity: identity(),
    };
    let activation = Request {
        aid: [1; 16],
        initiator: name("pessoa.lit"),
        responder: name("saramago.lit"),
        initiator_cert: [1; 32],
        responder_cert: [2; 32],
        initiator_kem: None,
        responder_kem: Some([3; 32]),
        initiator_suite: "a".to_owned(),
        responder_suite: "b".to_owned(),
        key: vec![1; 256],
        signature: vec![2; 256],
    };
    let activate =
        Activate { aid: [1; 16], initiator: name("pessoa.lit"), responder: name("saramago.lit"), confirm: vec![9; 32] };
    let refused = |refusal| Control::Refused { about: About::Aid([1; 16]), refusal };
    vec![
        Control::Chosen,
        Control::IdentityRequest(request),
        Control::Identity { id: "c1".to_owned(), identity: identity() },
        Control::Request(activation),
        Control::Response(Response { aid: [1; 16], key: vec![1], signature: vec![2], confirm: vec![3; 32] }),
        Control::Activate(activate),
        Control::Active { aid: [1; 16], expires: 1_795_444_800 },
        refused(Refusal::Busy(7)),
        refused(Refusal::BadProof),
        Control::Refused { about: About::Id("c1".to_owned()), refusal: Refusal::UnknownDomain },
        Control::Deactivate { aid: [1; 16], reason: DeactivateReason::Moved },
        Control::Undelivered { n: 1234, reason: UndeliveredReason::PairNotActive },
        Control::ResumePairs(ResumePairs { id: "r1".to_owned(), claims: vec![claim(1), claim(2)] }),
        Control::ResumePairs(ResumePairs { id: "r2".to_owned(), claims: vec![] }),
        Control::ResumedPairs(ResumedPairs { id: "r1".to_owned(), tags: vec![Some([7; 16]), None] }),
        Control::Hold(name("chat.saramago.lit")),
        Control::Go(name("chat.saramago.lit")),
    ]
}

#[test]
fn every_control_element_is_read_as_it_was_written() {
    for control in every_control() {
        let bytes = control.to_bytes();
        let element = Element::parse(&bytes, &Scope::SERVER).unwrap();
        assert_eq!(Control::read(&element), Ok(control), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_malformed_element_still_names_what_it_was_about() {
    let read = |xml: &str| Control::read(&Element::parse(xml.as_bytes(), &Scope::SERVER).unwrap());
    let aid = base64(&[1; 16]);
    let response = format!("<response xmlns='{NAMESPACE}' aid='{aid}'><key>!</key></response>");
    assert_eq!(read(&response), Err(MalformedControl { about: Some(About::Aid([1; 16])) }));
    assert_eq!(read(&format!("<what xmlns='{NAMESPACE}'/>")), Err(MalformedControl { about: None }));
    let short = format!("<active xmlns='{NAMESPACE}' aid='{}' expires='1'/>", base64(&[1; 15]));
    assert_eq!(read(&short), Err(MalformedControl { about: None }));
}

#[test]
fn a_list_of_pairs_has_whole_entries_and_a_bound() {
    let read = |name: &str, bytes: usize| {
        let xml = format!("<{name} xmlns='{NAMESPACE}' id='r1'>{}</{name}>", base64(&vec![1; bytes]));
        Control::read(&Element::parse(xml.as_bytes(), &Scope::SERVER).unwrap()).is_ok()
    };
    for (name, entry) in [("resume-pairs", 32), ("resumed-pairs", 16)] {
        assert!(read(name, entry * RESUMED_AT_ONCE) && read(name, 0));
        assert!(!read(name, entry * (RESUMED_AT_ONCE + 1)), "{name}: too many");
        assert!(!read(name, entry + 1), "{name}: half an entry");
    }
}
