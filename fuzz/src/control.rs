//! Elements as trees, and control elements.

use heteronym_proto::checker::{Malformed, Scope};
use heteronym_proto::control::Control;
use heteronym_proto::element::Element;

/// Reads `data` as one element, then as a control element.
///
/// # Panics
/// If what was read cannot be written and read back.
pub fn run(data: &[u8]) {
    let Ok(element) = Element::parse(data, &Scope::SERVER) else { return };
    match Element::parse(&element.to_bytes("jabber:server"), &Scope::SERVER) {
        Ok(again) => assert_eq!(again, element),
        // Where it had a prefix it has a declaration now, which may be one attribute too many.
        Err(fault) => assert!(matches!(fault, Malformed::Attributes | Malformed::Namespaces), "{fault}"),
    }
    if let Ok(control) = Control::read(&element) {
        let written = control.to_bytes();
        let again = Element::parse(&written, &Scope::SERVER).expect("what we write is well-formed");
        assert_eq!(Control::read(&again), Ok(control));
    }
}
