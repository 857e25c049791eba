//! The load: pre-built stanzas in a closed loop, counted and checked at the other end.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procfs::process::Process;

use crate::Failure;
use crate::component::attach;
use crate::subject::Running;

const DOMAINS: [&str; 2] = ["d00000.saramago.lit", "d00000.pessoa.lit"];

/// Stanzas under way at once.
const WINDOW: u64 = 4096;
/// Stanzas in one write.
const BATCH: u64 = 256;
/// A subject that hands on nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(30);

/// One run's outcome.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// CPU-seconds of the subject per million stanzas.
    pub cpu_per_million: f64,
    /// Stanzas per second of wall time.
    pub per_second: f64,
}

/// Two ends of a path that bytes take through a subject.
pub struct Path {
    sender: TcpStream,
    receiver: TcpStream,
}

impl Path {
    /// Through the first link of either side.
    ///
    /// # Errors
    /// If a component is not let in.
    pub fn through(running: &Running) -> Result<Self, Failure> {
        let [near, far] = &running.sides;
        Ok(Self { sender: attach(&near[0])?, receiver: attach(&far[0])? })
    }

    /// Sends `stanzas` of `bytes` each and waits until the last has arrived: all, once, in order.
    ///
    /// # Errors
    /// If one is missing, doubled, altered or out of order.
    pub fn drive(&mut self, subject: &Running, stanzas: u64, bytes: usize) -> Result<Run, Failure> {
        self.receiver.set_read_timeout(Some(SILENCE))?;
        self.push(1, bytes)?;
        let (cpu, start) = (cpu_seconds(subject)?, heteronym_net::clock::Now::read().instant);
        self.push(stanzas, bytes)?;
        let seconds = heteronym_net::clock::Now::read().instant.duration_since(start).as_secs_f64();
        let cpu = cpu_seconds(subject)? - cpu;
        #[expect(clippy::cast_precision_loss, reason = "numbers of stanzas are far below 2^52")]
        let stanzas = stanzas as f64;
        Ok(Run { cpu_per_million: cpu / stanzas * 1e6, per_second: stanzas / seconds })
    }

    fn push(&mut self, stanzas: u64, bytes: usize) -> Result<(), Failure> {
        let received = AtomicU64::new(0);
        let (mut sender, receiver) = (self.sender.try_clone()?, &mut self.receiver);
        std::thread::scope(|scope| {
            let received = &received;
            let sending = scope.spawn(move || send(&mut sender, stanzas, bytes, received));
            receive(receiver, stanzas, bytes, received)?;
            sending.join().map_err(|_| "the sending thread panicked")??;
            Ok(())
        })
    }
}

fn send(sender: &mut TcpStream, stanzas: u64, bytes: usize, received: &AtomicU64) -> io::Result<()> {
    let mut out = Vec::new();
    let mut sent = 0;
    while sent < stanzas {
        while sent - received.load(Ordering::Acquire) > WINDOW - BATCH {
            std::thread::yield_now();
        }
        out.clear();
        let end = stanzas.min(sent + BATCH);
        (sent..end).for_each(|n| write_stanza(&mut out, n, bytes));
        sent = end;
        sender.write_all(&out)?;
    }
    Ok(())
}

/// `bytes` long, whatever the number.
fn write_stanza(out: &mut Vec<u8>, n: u64, bytes: usize) {
    let start = out.len();
    let [from, to] = DOMAINS;
    let head = format!("<message id='{n:010}' type='chat' from='jose@{from}/tower' to='fernando@{to}/desk'><body>");
    out.extend_from_slice(head.as_bytes());
    let tail = b"</body></message>";
    out.resize(start + bytes - tail.len(), b'x');
    out.extend_from_slice(tail);
}

fn receive(receiver: &mut TcpStream, stanzas: u64, bytes: usize, received: &AtomicU64) -> Result<(), Failure> {
    let mut buffer = vec![0; 256 << 10];
    let (mut filled, mut n) = (0, 0);
    let mut expected = Vec::new();
    while n < stanzas {
        let read = receiver.read(&mut buffer[filled..])?;
        if read == 0 {
            return Err("the subject closed the connection".into());
        }
        filled += read;
        let whole = filled / bytes * bytes;
        for stanza in buffer[..whole].chunks_exact(bytes) {
            expected.clear();
            write_stanza(&mut expected, n, bytes);
            if stanza != expected {
                return Err(format!("stanza {n} did not arrive: {}", String::from_utf8_lossy(stanza)).into());
            }
            n += 1;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        received.store(n, Ordering::Release);
    }
    Ok(())
}

/// CPU-seconds of all its processes so far, user and system.
fn cpu_seconds(running: &Running) -> Result<f64, Failure> {
    let ticks = running.processes.iter().map(|id| {
        let stat = Process::new(i32::try_from(*id)?)?.stat()?;
        Ok::<_, Failure>(stat.utime + stat.stime)
    });
    let ticks: u64 = ticks.sum::<Result<u64, _>>()?;
    #[expect(clippy::cast_precision_loss, reason = "CPU ticks of one run are far below 2^52")]
    Ok(ticks as f64 / procfs::ticks_per_second() as f64)
}
