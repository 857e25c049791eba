//! Something between the hosts: it delays bytes, keeps their order, and cuts connections.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heteronym_net::clock::Now;
use socket2::SockRef;

use crate::drive::wake_precisely;

/// How often a thread looks whether its connection is to be cut.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of one read.
const READ: usize = 16 << 10;
/// Reads that are under way in one direction; of more, the sender waits: 16 MiB.
const UNDER_WAY: usize = 1024;

/// Listens on a port of its own and passes on what comes, until it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    delay: Duration,
    over: AtomicBool,
    /// Connections of an older generation are cut.
    generation: AtomicU64,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Proxy {
    /// In front of `to`, `delay` in each direction.
    ///
    /// # Errors
    /// If there is no socket or no thread to be had.
    pub fn start(to: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let (over, generation) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { to, delay, over, generation, connections: Mutex::default() });
        let of_thread = Arc::clone(&shared);
        let accepting = thread::Builder::new().name("proxy".into()).spawn(move || of_thread.accept(&listener))?;
        Ok(Self { port, shared, accepting: Some(accepting) })
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection as a broken network does: both ends get a reset. They are gone when it returns.
    pub fn cut(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        let threads = std::mem::take(&mut *self.shared.connections());
        for thread in threads {
            // A panic of it was printed already.
            let _ = thread.join();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.cut();
    }
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.over.load(Ordering::Acquire) {
            match listener.accept() {
                Ok((accepted, _)) => {
                    let (shared, generation) = (Arc::clone(self), self.generation.load(Ordering::Acquire));
                    self.connections().push(thread::spawn(move || {
                        // Who was not reached, or broke off, is told by the end of the other connection.
                        let _ = shared.join(accepted, generation);
                    }));
                }
                // Nobody, or somebody who has gone again.
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Passes bytes on both ways, until both directions have ended or the connection is cut.
    fn join(&self, accepted: TcpStream, generation: u64) -> io::Result<()> {
        accepted.set_nonblocking(false)?;
        let dialled = TcpStream::connect(self.to)?;
        for stream in [&accepted, &dialled] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
            stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        }
        let is_cut = || self.generation.load(Ordering::Acquire) != generation;
        thread::scope(|scope| {
            for (from, to) in [(&accepted, &dialled), (&dialled, &accepted)] {
                let (out, under_way) = sync_channel(UNDER_WAY);
                scope.spawn(move || read(from, &out, self.delay, is_cut));
                scope.spawn(move || write(to, &under_way, is_cut));
            }
        });
        if is_cut() {
            // What is closed so is reset.
            for stream in [&accepted, &dialled] {
                SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
            }
        }
        Ok(())
    }
}

/// Reads, and says when each piece is due.
fn read(mut from: &TcpStream, out: &SyncSender<(Instant, Vec<u8>)>, delay: Duration, is_cut: impl Fn() -> bool) {
    let mut buffer = [0; READ];
    while !is_cut() {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                if out.send((Now::read().instant + delay, buffer[..read].to_vec())).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Writes each piece when it is due, then ends the direction.
fn write(mut to: &TcpStream, under_way: &Receiver<(Instant, Vec<u8>)>, is_cut: impl Fn() -> bool) {
    wake_precisely();
    for (due, piece) in under_way {
        thread::sleep(due.saturating_duration_since(Now::read().instant));
        if is_cut() || to.write_all(&piece).is_err() {
            return;
        }
    }
    if !is_cut() {
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ends {
        proxy: Proxy,
        near: TcpStream,
        far: TcpStream,
    }

    fn through(delay: Duration) -> Ends {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap(), delay).unwrap();
        let near = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        let far = listener.accept().unwrap().0;
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        Ends { proxy, near, far }
    }

    #[test]
    fn bytes_arrive_in_order_and_not_before_their_time() {
        let mut ends = through(Duration::from_millis(30));
        let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
        let start = Now::read().instant;
        let mut writing = ends.near.try_clone().unwrap();
        let bytes = sent.clone();
        let thread = thread::spawn(move || writing.write_all(&bytes).unwrap());
        let mut received = vec![0; sent.len()];
        ends.far.read_exact(&mut received[..1]).unwrap();
        assert!(Now::read().instant - start >= Duration::from_millis(30));
        ends.far.read_exact(&mut received[1..]).unwrap();
        assert!(sent == received);
        thread.join().unwrap();
        ends.far.write_all(b"back").unwrap();
        let mut back = [0; 4];
        ends.near.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"back");
    }

    #[test]
    fn who_is_cut_gets_a_reset_and_may_come_again() {
        let mut ends = through(Duration::ZERO);
        ends.near.write_all(b"x").unwrap();
        ends.far.read_exact(&mut [0]).unwrap();
        ends.proxy.cut();
        for stream in [&mut ends.near, &mut ends.far] {
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        // Nobody accepts behind it any more, but the proxy does.
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, ends.proxy.port())).is_ok());
    }

    #[test]
    fn the_end_of_one_direction_is_passed_on() {
        let mut ends = through(Duration::from_millis(5));
        ends.near.write_all(b"last").unwrap();
        ends.near.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        ends.far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "last");
    }
}
