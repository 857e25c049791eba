//! What an enemy does to an activation (protocol §5), and what each defence is for.
//!
//! The literal version of the five steps falls to the first attack: a host that a domain activates
//! passes the domain's proof on as its own. Every defence against it and its kin has a test here that
//! fails when the defence is taken out; `tests/attacks.rs` has those that need real keys.

mod alterations;
mod confirmations;
mod forwarding;
mod identities;
mod order;
mod replays;
mod responses;
mod schedule;
mod transcript;

use heteronym_proto::control::{About, Control};
use heteronym_proto::refusal::Refusal;

use crate::peer::Scripted;

const AID: [u8; 16] = [9; 16];

fn refused(refusal: Refusal) -> Control {
    Control::Refused { about: About::Aid(AID), refusal }
}

/// Our host with camoes.lit and sophia.lit active, to see that they are left alone.
fn with_bystander() -> Scripted {
    let mut peer = Scripted::new();
    peer.until_active("sophia.lit", "camoes.lit", [1; 16]);
    peer
}

fn expect_bystander(peer: &mut Scripted) {
    let before = peer.side.delivered.len();
    peer.raw("<message from='u@sophia.lit' to='v@camoes.lit'/>");
    assert_eq!(peer.side.delivered.len(), before + 1, "another pair of the link is not disturbed");
    assert!(peer.side.closed.is_none());
}

#[test]
fn a_peer_that_keeps_to_the_book_is_let_in() {
    let mut peer = with_bystander();
    peer.until_active("pessoa.lit", "saramago.lit", AID);
    expect_bystander(&mut peer);
}
