//! The load: pre-built stanzas in a closed loop, counted and checked at the other end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use heteronym_proto::component::{Dialled, Dialler, Secret};
use heteronym_proto::framer::Framer;
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;

use crate::subject::{DOMAINS, Ground, SECRET, Subject, connect_when_up};

/// Stanzas under way at once.
const WINDOW: u64 = 4096;
/// Stanzas in one write.
const BATCH: u64 = 256;
/// A subject that hands on nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

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
    /// Through two routers: a component on either side.
    ///
    /// # Errors
    /// If a component is not let in.
    pub fn through_routers(ground: &Ground) -> Result<Self, Failure> {
        let sender = attach(ground.component[0], DOMAINS[0])?;
        let receiver = attach(ground.component[1], DOMAINS[1])?;
        Ok(Self { sender, receiver })
    }

    /// Through the relay: bare sockets.
    ///
    /// # Errors
    /// If the relay does not answer.
    pub fn through_relay(ground: &Ground) -> Result<Self, Failure> {
        let listener = TcpListener::bind(ground.relay[2])?;
        let sender = connect_when_up(ground.relay[0])?;
        sender.set_nodelay(true)?;
        let (receiver, _) = listener.accept()?;
        Ok(Self { sender, receiver })
    }

    /// Sends `stanzas` of `bytes` each and waits until the last has arrived: all, once, in order.
    ///
    /// # Errors
    /// If one is missing, doubled, altered or out of order.
    pub fn drive(&mut self, subject: &Subject, stanzas: u64, bytes: usize) -> Result<Run, Failure> {
        self.receiver.set_read_timeout(Some(SILENCE))?;
        self.push(1, bytes)?;
        let (cpu, start) = (subject.cpu_seconds()?, heteronym_net::clock::Now::read().instant);
        self.push(stanzas, bytes)?;
        let seconds = heteronym_net::clock::Now::read().instant.duration_since(start).as_secs_f64();
        let cpu = subject.cpu_seconds()? - cpu;
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

/// Attaches as a component (XEP-0114).
fn attach(address: SocketAddr, domain: &str) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut dialler, header) = Dialler::new(domain, Secret::new(SECRET.to_owned()));
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    stream.write_all(&header)?;
    loop {
        let Some(frame) = framer.next_frame().map_err(|error| error.stream_error())? else {
            let mut read = BytesMut::zeroed(4096);
            let length = stream.read(&mut read)?;
            read.truncate(length);
            framer.push(read);
            continue;
        };
        match dialler.frame(frame)? {
            Dialled::Send(bytes) => stream.write_all(&bytes)?,
            Dialled::Up => return Ok(stream),
        }
    }
}
