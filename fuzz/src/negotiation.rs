//! Negotiation, between hosts and of classic S2S, in both roles: whoever gets in has done all that it takes.

mod party;
mod proof;
mod script;

use bytes::{Bytes, BytesMut};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;

use party::Party;

/// Most that is answered to one frame: our header, features, and names of the peer's.
const ANSWER_BYTES: usize = 4096;

/// What a party wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Send(Bytes),
    Restart,
    StartTls,
    Judge(String),
    Close(&'static str),
    /// The stream is open: for whom, if that was proved.
    Open(Option<String>),
}

/// What a party was told, and did.
#[derive(Debug, Default)]
struct Talk {
    frames: Vec<Frame>,
    did: Vec<Did>,
    /// It ended with an error that the peer made.
    failed: Option<String>,
    /// The bytes were no stream any more.
    unreadable: bool,
}

/// Plays the script in `data`: its first byte says to whom, and with what certificate.
///
/// # Panics
/// If somebody gets in who has not proved enough, the outcome depends on the pieces, or answers have no bound.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let script = script::expand(rest);
    let whole = talk(*first, &[&script]);
    proof::expect(*first, &whole);
    for size in [1, 7, 64] {
        let pieced = talk(*first, &script.chunks(size).collect::<Vec<_>>());
        let outcome = |talk: &Talk| (talk.frames.clone(), talk.did.clone(), talk.failed.clone(), talk.unreadable);
        assert_eq!(outcome(&pieced), outcome(&whole), "in pieces of {size}");
    }
}

fn talk(first: u8, pieces: &[&[u8]]) -> Talk {
    let (mut framer, mut talk) = (Framer::new(UNAUTHENTICATED_BYTES), Talk::default());
    let (mut party, did) = Party::new(first);
    let mut goes_on = talk.done(did, &mut framer, &mut party);
    for piece in pieces {
        framer.push(BytesMut::from(*piece));
        while goes_on {
            goes_on = match framer.next_frame() {
                Ok(Some(frame)) => talk.hear(frame, &mut framer, &mut party),
                Ok(None) => break,
                Err(fault) => {
                    party.unreadable(fault);
                    talk.unreadable = true;
                    false
                }
            };
        }
        assert!(!goes_on || framer.buffered() <= 2 * UNAUTHENTICATED_BYTES + piece.len(), "{}", framer.buffered());
    }
    talk
}

impl Talk {
    /// Whether more is to be heard.
    fn hear(&mut self, frame: Frame, framer: &mut Framer, party: &mut Party) -> bool {
        self.frames.push(frame.clone());
        let step = party.frame(frame);
        self.step(step, framer, party)
    }

    fn step(&mut self, step: Result<Vec<Did>, String>, framer: &mut Framer, party: &mut Party) -> bool {
        match step {
            Ok(did) => {
                let sent: usize = did.iter().map(|did| if let Did::Send(bytes) = did { bytes.len() } else { 0 }).sum();
                assert!(sent <= ANSWER_BYTES, "{sent} bytes for one frame");
                self.done(did, framer, party)
            }
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }

    fn done(&mut self, did: Vec<Did>, framer: &mut Framer, party: &mut Party) -> bool {
        let mut goes_on = true;
        for did in did {
            self.did.push(did.clone());
            goes_on &= match did {
                Did::Send(_) => true,
                Did::Restart => {
                    framer.restart();
                    true
                }
                Did::Judge(_) => {
                    let step = party.judge();
                    self.step(step, framer, party)
                }
                // Behind TLS another stream begins, which is another input.
                Did::StartTls | Did::Close(_) | Did::Open(_) => false,
            };
        }
        goes_on
    }
}
