//! What is to happen when, and the mailboxes of actors.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use heteronym_proto::control::{Aid, DeactivateReason, UndeliveredReason};
use heteronym_proto::domain_pair::{PairAction, PairEvent};
use heteronym_proto::host_stream::{IdentityQuestion, Session};
use heteronym_proto::hosted::Entry;
use heteronym_proto::identity::{Identity, OwnIdentity, PeerIdentity};
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::now::Now;
use heteronym_proto::pair::Pair;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::end::End;
use crate::ledger::Ledger;

/// An actor of one life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: usize,
    pub(crate) life: u32,
    pub(crate) actor: Actor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Actor {
    Router,
    Link(LinkId),
    Local(Entry),
}

/// A session on its way to a link.
pub(crate) type Handover = Rc<RefCell<Option<Box<Session>>>>;

/// A stanza that our server was given, or not.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) link: LinkId,
    pub(crate) peer: Name,
    pub(crate) serial: u64,
    pub(crate) n: u64,
    pub(crate) bytes: Bytes,
}

/// What the actors tell each other.
#[derive(Debug)]
pub(crate) enum Message {
    // To the Router.
    Ready { link: LinkId, peer: Name, ours: bool },
    DialFailed { peer: Name },
    Chosen(LinkId),
    Alive(LinkId),
    Ended(Box<LinkEnded>),
    Unrouted { entry: Entry, batch: u64, pair: Pair, stanza: Bytes },
    Stranded(Vec<Bytes>),
    HandedBack(Delivered, UndeliveredReason),
    Reply(Bytes),
    // To a link.
    Choose,
    Probe,
    Conflict,
    Drop,
    Close,
    Adopt(Handover),
    Open(Pair, Vec<Bytes>),
    Send(Slot, Vec<Bytes>),
    HasRead { serial: u64, entry: Entry, n: u64 },
    Undeliverable(Delivered, UndeliveredReason),
    Tell(Slot, Aid, Box<PairEvent>),
    Said(Slot, Aid, Box<PairAction>),
    Checked(Box<Identity>, Result<Arc<PeerIdentity>, String>),
    Shown(IdentityQuestion, Result<Arc<OwnIdentity>, String>),
    Deactivate(Pair, DeactivateReason),
    Break(Pair),
    WantNow(Pair),
    // To a local link.
    FromUser { to: Name, stanzas: Vec<Bytes> },
    Deliver(Vec<Delivered>),
    Settled { pair: Pair, batch: u64 },
}

/// A connection ended, or never came about.
#[derive(Debug)]
pub(crate) struct LinkEnded {
    pub(crate) link: LinkId,
    pub(crate) peer: Name,
    pub(crate) carried: bool,
    pub(crate) unsent: Vec<(Pair, Vec<Bytes>)>,
    pub(crate) session: Option<Box<Session>>,
}

/// What happens to the world.
#[derive(Debug)]
pub(crate) enum Event {
    Mail(Address, Message),
    /// Bytes reach this side of a wire.
    Bytes {
        wire: usize,
        side: usize,
        bytes: BytesMut,
    },
    /// This side of a wire hears that it is over.
    Over {
        wire: usize,
        side: usize,
    },
    /// A connection comes about, or does not.
    Connect {
        from: usize,
        life: u32,
        to: usize,
    },
    /// One side of a connection has authenticated the other.
    Born(Box<End>),
    /// A process starts again.
    Start(usize),
    /// The users and the faults have their turn.
    Turn,
    /// A fault is over.
    Heal(Healed),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Healed {
    Server { host: usize, entry: Entry },
    Trust(usize),
    Delegation(usize),
    Reach,
    Crypto(usize),
}

/// Everything that is to come, in order.
#[derive(Default)]
pub(crate) struct Agenda {
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
    mailboxes: HashMap<Address, Instant>,
}

impl Agenda {
    pub(crate) fn first(&self) -> Option<Instant> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<(u64, Event)> {
        let ((at, number), _) = self.events.first_key_value()?;
        if *at > now {
            return None;
        }
        let number = *number;
        self.events.pop_first().map(|(_, event)| (number, event))
    }

    pub(crate) fn add(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    /// Puts an event off, before everything that was added behind it.
    pub(crate) fn put_off(&mut self, at: Instant, number: u64, event: Event) {
        self.events.insert((at, number), event);
    }
}

/// What a handler may use.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) me: Address,
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) dice: &'a mut Rng,
    pub(crate) ledger: &'a mut Ledger,
}

impl Context<'_> {
    /// Puts a message into a mailbox of this process, behind what is there.
    pub(crate) fn post(&mut self, actor: Actor, message: Message) {
        let to = Address { actor, ..self.me };
        let delay = Duration::from_micros(self.dice.u64(0..2000));
        let before = self.agenda.mailboxes.get(&to).copied().unwrap_or(self.now.instant);
        let at = before.max(self.now.instant + delay);
        self.agenda.mailboxes.insert(to, at);
        self.agenda.add(at, Event::Mail(to, message));
    }

    /// Lets an actor of this process have a message later, whatever comes before.
    pub(crate) fn later(&mut self, actor: Actor, delay: Duration, message: Message) {
        let to = Address { actor, ..self.me };
        self.agenda.add(self.now.instant + delay, Event::Mail(to, message));
    }

    /// A random time up to this one.
    pub(crate) fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.dice.u64(0..=u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)))
    }
}
