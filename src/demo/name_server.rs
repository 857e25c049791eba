//! A name server of its own: real questions and answers over UDP and TCP, from a zone in memory.

mod answer;
mod zone;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heteronym_net::listen::bind_both;
use hickory_server::Server;
use tokio::runtime;
use tokio::sync::oneshot;

pub use zone::{Srv, Zone};

use answer::Answers;

/// How long a TCP connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// Answers that may wait on one TCP connection.
const TCP_ANSWERS: usize = 64;

/// Answers for everything there is, on a thread of its own, until it is dropped.
///
/// What is not in its zone does not exist (NXDOMAIN). Its zone can change at any time.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is no socket or no thread to be had.
    pub fn start(zone: Zone) -> io::Result<Self> {
        let (udp, tcp) = bind_both((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = tcp.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let zone = Arc::new(Mutex::new(zone));
        let answers = Answers(Arc::clone(&zone));
        let (end, ended) = oneshot::channel();
        let (tcp, udp) = {
            let _within = runtime.enter();
            (tokio::net::TcpListener::from_std(tcp)?, tokio::net::UdpSocket::from_std(udp)?)
        };
        let thread = thread::Builder::new().name("name server".into()).spawn(move || {
            runtime.block_on(async {
                let mut server = Server::new(answers);
                server.register_socket(udp);
                server.register_listener(tcp, IDLE, TCP_ANSWERS);
                // An error is the dropped sender: the end as well.
                let _ = ended.await;
            });
        })?;
        Ok(Self { address, zone, end: Some(end), thread: Some(thread) })
    }

    /// Where it answers, UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `domain`'s federation records from now on: `(priority, weight, port, target)`.
    pub fn set_srv(&self, domain: &str, records: Vec<(u16, u16, u16, String)>) {
        self.zone().set_srv(domain, records);
    }

    /// The records of `service` (`_xmpp-server._tcp`) at `domain` from now on.
    pub fn set_service(&self, service: &str, domain: &str, records: Vec<Srv>) {
        self.zone().set_service(service, domain, records);
    }

    /// The addresses of `host` from now on.
    pub fn set_addresses(&self, host: &str, addresses: Vec<IpAddr>) {
        self.zone().set_addresses(host, addresses);
    }

    /// `name`, such as `_xmpp-federation._tcp.pessoa.lit`, is an alias of `target` from now on (CNAME).
    pub fn set_alias(&self, name: &str, target: &str) {
        self.zone().set_alias(name, target);
    }

    /// Answers hold for `seconds` from now on.
    pub fn set_ttl(&self, seconds: u32) {
        self.zone().set_ttl(seconds);
    }

    /// `domain` has no records of any kind from now on: cleanly absent.
    pub fn remove(&self, domain: &str) {
        self.zone().remove(domain);
    }

    /// Every question about `domain`, or about this one name such as `_xmpp-federation._tcp.pessoa.lit`, is
    /// answered SERVFAIL until [`recover`](Self::recover).
    pub fn fail(&self, domain: &str) {
        self.zone().fail(domain);
    }

    /// No question about `domain`, or about this one name, is answered until [`recover`](Self::recover).
    pub fn silence(&self, domain: &str) {
        self.zone().silence(domain);
    }

    /// Questions about `domain` are answered again, from the records that it had.
    pub fn recover(&self, domain: &str) {
        self.zone().recover(domain);
    }

    /// How many questions there were for exactly this `name`, such as
    /// `_xmpp-federation._tcp.pessoa.lit`, whatever their type and whatever the answer.
    #[must_use]
    pub fn questions(&self, name: &str) -> usize {
        self.zone().questions(name)
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        lock(&self.zone)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell: a panic of it was printed already.
            let _ = thread.join();
        }
    }
}

/// A zone is whole after each of its methods, so a panic elsewhere does not spoil it.
fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
