//! Threads that take turns over those who ask: a peer that floods delays another's turn by the one of its own
//! that is under way. A turn is an operation, or those of a run that follow from each other, four at most.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use heteronym_proto::fair_queue::{Bounds, FairQueue};
use heteronym_proto::limits::{CRYPTO_WAITING, CRYPTO_WAITING_BYTES};
use heteronym_proto::name::Name;
use tokio::sync::oneshot;
use tracing::error;

use crate::listener::network;
use crate::now;

/// On whose account an operation goes: a peer that we know, or one that is still to show who it is.
///
/// What is done with a key of ours, the making of a KEM key for example, is done because of a peer, and goes
/// on its account: an account of our own would be one that every peer can fill.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A peer host that is authenticated, or that we dial.
    Host(Name),
    /// The network of whoever is not.
    Network(IpAddr),
}

impl Asker {
    /// Somebody at this address, who may be anybody.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self::Network(network(address))
    }
}

/// Why an operation was not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unperformed {
    /// More waits for this asker than may.
    #[error("too many operations of this peer wait for the crypto pool")]
    Overloaded,
    /// It panicked, or the pool ended.
    #[error("the crypto pool broke down; see the log")]
    Broken,
}

/// Performs one operation with what the pool knows; nothing, where nobody waits for it any more.
type Operation<C> = Box<dyn FnOnce(&C) -> Option<Told> + Send>;

/// Tells whoever waits for an operation what came of it.
type Told = Box<dyn FnOnce() + Send>;

/// While more operations of the same asker wait, results of so long are told together: whoever waits for them is on
/// another thread, which is woken once.
const TOGETHER: Duration = Duration::from_millis(4);

/// See the module. `C` is what the operations work with. The threads end with the last clone.
pub(super) struct Pool<C>(Arc<Handle<C>>);

struct Handle<C>(Arc<Shared<C>>);

struct Shared<C> {
    context: Arc<C>,
    state: Mutex<State<C>>,
    work: Condvar,
}

struct State<C> {
    queue: FairQueue<Asker, Operation<C>>,
    ended: bool,
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Drop for Handle<C> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.work.notify_all();
    }
}

impl<C: Send + Sync + 'static> Pool<C> {
    /// Starts so many threads, at least one.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start(threads: usize, context: Arc<C>) -> io::Result<Self> {
        let queue = FairQueue::new(Bounds { count: CRYPTO_WAITING, bytes: CRYPTO_WAITING_BYTES });
        let state = Mutex::new(State { queue, ended: false });
        let pool = Self(Arc::new(Handle(Arc::new(Shared { context, state, work: Condvar::new() }))));
        for n in 0..threads.max(1) {
            let shared = Arc::clone(&pool.0.0);
            thread::Builder::new().name(format!("crypto-{n}")).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Lets `operation`, which holds so many bytes, wait for its turn, and waits for it. Where nobody waits
    /// any more it is left out.
    pub(super) fn perform<T, F>(
        &self,
        asker: &Asker,
        bytes: usize,
        operation: F,
    ) -> impl Future<Output = Result<T, Unperformed>> + use<C, T, F>
    where
        T: Send + 'static,
        F: FnOnce(&C) -> T + Send + 'static,
    {
        let (told, result) = oneshot::channel();
        let operation = move |context: &C| {
            let result = (!told.is_closed()).then(|| operation(context))?;
            // Whoever asked may have gone meanwhile.
            Some(Box::new(move || _ = told.send(result)) as Told)
        };
        let pushed = self.0.0.state().queue.push(asker, bytes, Box::new(operation));
        self.0.0.work.notify_one();
        async move {
            pushed.map_err(|_| Unperformed::Overloaded)?;
            result.await.map_err(|_| Unperformed::Broken)
        }
    }

    /// Operations that wait, of all askers.
    pub(super) fn waiting(&self) -> usize {
        self.0.0.state().queue.waiting()
    }
}

impl<C> Shared<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life. A panic ends the operation only.
    fn work(&self) {
        let mut told = Vec::new();
        let mut since = now().instant;
        while let Some((operation, more)) = self.next(&mut told) {
            if told.is_empty() {
                since = now().instant;
            }
            told.extend(unless_it_panics(|| operation(&self.context)).flatten());
            if !more || now().instant - since >= TOGETHER {
                tell(&mut told);
            }
        }
        tell(&mut told);
    }

    /// The next operation, and whether more of its asker's wait. Before it is waited for, results are told.
    fn next(&self, told: &mut Vec<Told>) -> Option<(Operation<C>, bool)> {
        let mut state = self.state();
        while !state.ended {
            if let next @ Some(_) = state.queue.pop() {
                return next;
            }
            if told.is_empty() {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(state);
                tell(told);
                state = self.state();
            }
        }
        None
    }
}

fn tell(told: &mut Vec<Told>) {
    for tell in told.drain(..) {
        unless_it_panics(tell);
    }
}

fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    result.inspect_err(|_| error!("a crypto operation panicked; the panic is logged above")).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn host(name: &str) -> Asker {
        Asker::Host(Name::parse(name).unwrap())
    }

    type Order = Mutex<Vec<&'static str>>;

    /// A pool of one thread that is kept busy until the sender is dropped.
    fn held() -> (Pool<Order>, Arc<Order>, mpsc::Sender<()>) {
        let order = Arc::new(Order::default());
        let pool = Pool::start(1, Arc::clone(&order)).unwrap();
        let (hold, held) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let asked = pool.perform(&host("first.isp"), 0, move |_| {
            begun.send(()).unwrap();
            let _ = held.recv();
        });
        begins.recv().unwrap();
        drop(asked);
        (pool, order, hold)
    }

    fn note(pool: &Pool<Order>, asker: &str, word: &'static str) -> impl Future<Output = Result<(), Unperformed>> {
        pool.perform(&host(asker), 0, move |order: &Order| order.lock().unwrap().push(word))
    }

    #[actix_rt::test]
    async fn a_flood_of_one_host_delays_another_by_one_operation_each() {
        let (pool, order, hold) = held();
        let flood: Vec<_> = (0..1000).map(|_| note(&pool, "flood.isp", "flood")).collect();
        let other: Vec<_> = (0..10).map(|_| note(&pool, "other.isp", "other")).collect();
        assert_eq!(pool.waiting(), 1010);
        drop(hold);
        for done in other {
            done.await.unwrap();
        }
        let so_far = order.lock().unwrap().clone();
        let tenth = so_far.iter().enumerate().filter(|(_, word)| **word == "other").nth(9).unwrap().0;
        assert!(tenth <= 19, "{} of the flood before the other's tenth", tenth - 9);
        for done in flood {
            done.await.unwrap();
        }
        assert_eq!((order.lock().unwrap().len(), pool.waiting()), (1010, 0), "and none is forgotten");
    }

    #[actix_rt::test]
    async fn what_waits_for_one_host_is_bounded_and_the_rest_is_told_so() {
        let (pool, _, hold) = held();
        let flood: Vec<_> = (0..CRYPTO_WAITING).map(|_| note(&pool, "flood.isp", "flood")).collect();
        assert_eq!(note(&pool, "flood.isp", "flood").await, Err(Unperformed::Overloaded));
        let long = pool.perform(&host("long.isp"), CRYPTO_WAITING_BYTES + 1, |_| ());
        assert_eq!(long.await, Err(Unperformed::Overloaded));
        let other = note(&pool, "other.isp", "other");
        drop(hold);
        assert_eq!(other.await, Ok(()));
        for done in flood {
            assert_eq!(done.await, Ok(()));
        }
    }

    /// Whatever waits behind them: here, what ends only once they have been told.
    #[actix_rt::test]
    async fn an_askers_last_result_is_told_at_once_and_one_that_took_its_time() {
        let (pool, _, hold) = held();
        let slow = pool.perform(&host("flood.isp"), 0, |_| thread::sleep(2 * TOGETHER));
        let last = pool.perform(&host("other.isp"), 0, |_| ());
        let (tell, told) = mpsc::channel::<()>();
        let behind = pool.perform(&host("flood.isp"), 0, move |_| told.recv().is_err());
        drop(hold);
        let both = async { (slow.await, last.await) };
        let both = actix_rt::time::timeout(Duration::from_secs(60), both).await;
        assert_eq!(both, Ok((Ok(()), Ok(()))), "they wait for what is behind them");
        drop(tell);
        assert_eq!(behind.await, Ok(true));
    }

    #[actix_rt::test]
    async fn what_nobody_waits_for_is_left_out_and_a_panic_ends_nothing_else() {
        let (pool, order, hold) = held();
        drop(note(&pool, "a.isp", "nobody's"));
        let panics = pool.perform(&host("a.isp"), 0, |_| panic!("as it may happen"));
        let after = note(&pool, "a.isp", "after");
        drop(hold);
        assert_eq!(panics.await, Err::<(), _>(Unperformed::Broken));
        assert_eq!(after.await, Ok(()));
        assert_eq!(*order.lock().unwrap(), ["after"]);
    }
}
