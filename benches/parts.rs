//! The other parts of this program: processes of subjects that it starts from its own file.

use std::net::SocketAddr;
use std::path::Path;

use crate::Failure;
use crate::subjects::{heteronym, relay};

/// Plays the part that the arguments (without the program's name) ask for, until its process is ended;
/// `None` if they ask for none.
#[must_use]
pub fn play(arguments: &[String]) -> Option<Result<(), Failure>> {
    let (part, rest) = arguments.split_first()?;
    match part.as_str() {
        heteronym::PART => Some(serve_router(rest)),
        relay::PART => Some(serve_relay(rest)),
        _ => None,
    }
}

fn serve_router(arguments: &[String]) -> Result<(), Failure> {
    let [file] = arguments else { return Err("which configuration?".into()) };
    heteronym::serve(Path::new(file))
}

fn serve_relay(arguments: &[String]) -> Result<(), Failure> {
    let [end, certificate, component, between] = arguments else {
        return Err("near|far CERTIFICATE COMPONENT BETWEEN".into());
    };
    let address = |text: &String| text.parse::<SocketAddr>();
    relay::serve(end == "near", Path::new(certificate), address(component)?, address(between)?)
}
