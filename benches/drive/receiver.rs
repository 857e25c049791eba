//! Reads one link: every stanza is looked at, and passed on to whoever takes it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use heteronym_net::clock::Now;

use super::State;
use super::draw::Draw;
use crate::Failure;
use crate::stanzas::{Found, Stanzas};

/// How often who hears nothing looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of one read where a side has a single link, and where it has many.
const READ: (usize, usize) = (256 << 10, 64 << 10);

/// What becomes of stanzas that arrive.
pub trait Take {
    /// One has, in a read that ended at `at`.
    ///
    /// # Errors
    /// If it should not have.
    fn take(&mut self, n: u64, pair: usize, at: Instant) -> Result<(), Failure>;

    /// All stanzas of one read were taken.
    ///
    /// # Errors
    /// If what follows from it fails.
    fn taken(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Reads until the run is over; what goes wrong ends the run.
pub(super) fn receive(link: &TcpStream, of: (&Stanzas, &Draw), state: &State, counts: bool, take: &mut impl Take) {
    if let Err(error) = read_all(link, of, state, counts, take) {
        state.fail(&error);
    }
}

fn read_all(
    mut link: &TcpStream,
    (stanzas, draw): (&Stanzas, &Draw),
    state: &State,
    counts: bool,
    take: &mut impl Take,
) -> Result<(), Failure> {
    link.set_read_timeout(Some(LOOK))?;
    let longest = 4 * stanzas.bytes() + 4096;
    let mut buffer = vec![0; longest + if state.links == 1 { READ.0 } else { READ.1 }];
    let mut filled = 0;
    while !state.is_over() {
        let read = match link.read(&mut buffer[filled..]) {
            Ok(0) => return Err("the subject closed a link".into()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error.into()),
        };
        let at = Now::read().instant;
        filled += read;
        let (mut start, mut count) = (0, 0);
        loop {
            match stanzas.find(draw, &buffer[start..filled])? {
                Found::Stanza { n, pair, length } => {
                    take.take(n, pair, at)?;
                    count += 1;
                    start += length;
                }
                Found::Blank(length) => start += length,
                Found::Part => break,
            }
        }
        if filled - start >= longest {
            return Err("a stanza arrived that has no end".into());
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        take.taken()?;
        if counts && count > 0 {
            state.add(count);
        }
    }
    Ok(())
}
