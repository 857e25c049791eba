//! A whole router, on threads of its own.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use actix::Addr;
use heteronym::certificates::Certificates;
use heteronym::config::Config;
use heteronym::launch::{Launched, launch};
use heteronym_actors::router::{GetStatus, Router};
use heteronym_proto::status::{PairStatus, Status};
use tokio::sync::oneshot;

use super::soon;

/// Two I/O threads and four for crypto: more than one of each, as on most machines.
const CORES: usize = 4;

/// A router that runs. It ends when it is drained, or abruptly when it is dropped.
pub(crate) struct Running {
    /// Where peer hosts reach it.
    pub(crate) federation: SocketAddr,
    /// Where servers of classic S2S reach it, if anywhere.
    pub(crate) s2s: Option<SocketAddr>,
    /// Where components reach it.
    pub(crate) component: SocketAddr,
    /// Where servers of its own reach it by S2S, if anywhere.
    pub(crate) local_s2s: Option<SocketAddr>,
    /// Where our servers are led, if anywhere.
    pub(crate) steering_dns: Option<SocketAddr>,
    /// Where operators reach it.
    pub(crate) admin: SocketAddr,
    router: Addr<Router>,
    drain: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Starts it; its listeners are bound when this returns.
    pub(crate) fn start(config: Config) -> Self {
        let (ready, started) = std::sync::mpsc::channel();
        let (drain, drained) = oneshot::channel();
        let thread = thread::spawn(move || {
            let system = actix_rt::System::new();
            system.block_on(async move {
                let certificates = Certificates::load(&config).unwrap();
                let launched = launch(&config, certificates, CORES).unwrap();
                ready.send((launched.listening().clone(), launched.router().clone())).unwrap();
                end(launched, drained).await;
            });
            actix_rt::System::current().stop();
            system.run().unwrap();
        });
        let (listening, router) = started.recv().unwrap();
        let (federation, component, admin) = (listening.federation[0], listening.component[0], listening.admin[0]);
        let (s2s, local_s2s) = (listening.s2s.first().copied(), listening.local_s2s.first().copied());
        let steering_dns = listening.steering_dns.first().copied();
        Self { federation, s2s, component, local_s2s, steering_dns, admin, router, drain, thread }
    }

    /// What the status page would say.
    pub(crate) async fn status(&self) -> Status {
        soon("the status", self.router.send(GetStatus)).await.unwrap()
    }

    /// What it says once that `holds`.
    pub(crate) async fn status_until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let asking = async {
            loop {
                let status = self.router.send(GetStatus).await.unwrap();
                if holds(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        soon(what, asking).await
    }

    /// What it would say of the pairs of these two domains: one, as a rule.
    pub(crate) async fn pairs(&self, local: &str, remote: &str) -> Vec<PairStatus> {
        let of_both = |pair: &PairStatus| (pair.pair.local.as_str(), pair.pair.remote.as_str()) == (local, remote);
        self.status().await.pairs.into_iter().filter(of_both).collect()
    }

    /// Asks for the end in order; [`Self::ended`] waits for it.
    pub(crate) fn begin_drain(self) -> Draining {
        self.drain.send(()).unwrap();
        Draining(self.thread)
    }

    /// Ends it in order.
    pub(crate) async fn drain(self) {
        self.begin_drain().ended().await;
    }
}

/// A router that was told to end.
pub(crate) struct Draining(JoinHandle<()>);

impl Draining {
    /// Waits until all of it is gone.
    pub(crate) async fn ended(self) {
        soon("the router's end", tokio::task::spawn_blocking(|| self.0.join())).await.unwrap().unwrap();
    }
}

async fn end(launched: Launched, drained: oneshot::Receiver<()>) {
    // An error is a test that failed: nobody waits for what a drain would say.
    if drained.await.is_ok() {
        launched.drain().await;
    }
}
