//! From the dial or the accept to an open stream.

use std::collections::{HashSet, VecDeque};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use heteronym_net::tls::ServerTls;
use heteronym_net::wire::{Reader, Writer};
use heteronym_proto::checker::Scope;
use heteronym_proto::classic::answering::{self, Answering, Audience, Offer, Output};
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::classic::{ClassicError, Features};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::hosted::Entry;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use heteronym_proto::way::Admission;
use tokio::net::TcpStream;

use super::checking::judge;
use super::dialling::{attach, dial_for_pair};
use super::parent::Parent;
use super::talk::{Fault, Talk};
use crate::listener::{Place, stream_id};
use crate::{Config, Shared};

/// How a stream begins.
pub enum Start {
    /// We dial, for a pair that has stanzas.
    Dial {
        /// The pair.
        pair: Pair,
        /// No stream of another domain of the same server is shared.
        alone: bool,
    },
    /// Somebody dialled us; the place is for the handshake.
    Accepted(StdTcpStream, Place),
    /// We dial a server of ours, over loopback.
    Attach {
        /// Where it takes S2S.
        address: SocketAddr,
        /// Who we are there, and a domain of its own.
        pair: Pair,
    },
    /// Somebody dialled us over loopback.
    AcceptedOwn(StdTcpStream, Place),
}

/// An open stream.
pub(super) struct Connected {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) framer: Framer,
    pub(super) address: SocketAddr,
    /// The other side's certificates, leaf first; none where it showed none.
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) stream_id: String,
    pub(super) scope: Scope,
    pub(super) lang: Option<String>,
    pub(super) both_ways: bool,
    pub(super) how: How,
}

/// Who dialled, and what was proved.
pub(super) enum How {
    /// We did.
    Dialled {
        /// Whether our certificate was taken.
        authenticated: bool,
        /// Whether it may answer here as the remote domain: by its certificate or, with dialback, by DNS.
        proved: bool,
        /// Whether its certificate proves it.
        certified: bool,
        /// Whether further pairs may be let in by dialback.
        grows: bool,
        features: Features,
    },
    /// They did.
    Accepted {
        /// The domain that its certificate proved, and ours.
        authenticated: Option<(Name, Name)>,
        /// What led to the end of the negotiation.
        first: Option<Frame>,
    },
    /// We did, to a server of ours.
    Attached,
    /// A server of ours did.
    AcceptedOwn {
        entry: Entry,
        /// What led to the end of the negotiation.
        first: Option<Frame>,
    },
}

impl How {
    /// The largest stanza that the other side takes, and how long it may be idle (XEP-0478).
    pub(super) fn bounds(&self) -> (Option<usize>, Option<u32>) {
        match self {
            Self::Dialled { features, .. } => (features.max_bytes, features.idle_seconds),
            Self::Attached | Self::Accepted { .. } | Self::AcceptedOwn { .. } => (None, None),
        }
    }

    /// Whether further pairs may be let in by dialback.
    pub(super) fn grows(&self) -> bool {
        matches!(self, Self::Dialled { grows: true, .. })
    }
}

/// Why there is no stream.
pub(super) enum NoStream {
    /// There is one to the same server already.
    Shared(StreamId),
    /// What senders are told, and why, for people.
    Failed(Condition, String),
    /// The server does not want our domain: why, for people. Others may fare better.
    Refused(String),
}

pub(super) fn unreachable(why: impl Into<String>) -> NoStream {
    NoStream::Failed(Condition::RemoteServerTimeout, why.into())
}

type Connecting = LocalBoxFuture<'static, Result<Connected, NoStream>>;

/// The way to an open stream, and the place that is to be held until somebody is proved there.
pub(super) fn connect(shared: Shared, parent: Option<Parent>, start: Start) -> (Connecting, Option<Place>) {
    match start {
        Start::Dial { pair, alone } => {
            (Box::pin(async move { dial_for_pair(&shared, parent, pair, alone).await }), None)
        }
        Start::Attach { address, pair } => {
            (Box::pin(async move { attach(&shared, address, pair).await.map_err(unreachable) }), None)
        }
        Start::Accepted(stream, place) => {
            (Box::pin(async move { accept_remote(&shared, stream).await.map_err(unreachable) }), Some(place))
        }
        Start::AcceptedOwn(stream, place) => {
            (Box::pin(async move { accept_own(&shared, stream).await.map_err(unreachable) }), Some(place))
        }
    }
}

async fn accept_remote(shared: &Shared, stream: StdTcpStream) -> Result<Connected, String> {
    let (answering, talk, opened, first) = answer(shared, stream, offer(&shared.config())).await?;
    let how = How::Accepted { authenticated: opened.authenticated.clone(), first };
    connected(talk, answering, opened, how)
}

async fn accept_own(shared: &Shared, stream: StdTcpStream) -> Result<Connected, String> {
    let (answering, talk, opened, first) = answer(shared, stream, offer_to_own(&shared.config())).await?;
    let entry = answering.entry().ok_or("a stream of none of our servers")?;
    connected(talk, answering, opened, How::AcceptedOwn { entry, first })
}

fn connected(talk: Talk, answering: Answering, opened: answering::Opened, how: How) -> Result<Connected, String> {
    let answering::Opened { bidi, lang, scope, .. } = opened;
    let Talk { halves, framer, address, chain, .. } = talk;
    let (reader, writer) = halves.ok_or("the connection is gone")?;
    let stream_id = answering.stream_id().to_owned();
    Ok(Connected { reader, writer, framer, address, chain, stream_id, scope, lang, both_ways: bidi, how })
}

type Answered = (Answering, Talk, answering::Opened, Option<Frame>);

async fn answer(shared: &Shared, stream: StdTcpStream, offer: Offer) -> Result<Answered, String> {
    let tcp = TcpStream::from_std(stream).map_err(|error| error.to_string())?;
    let own = matches!(offer.to, Audience::Own(..));
    let tls = if own { shared.local_tls() } else { shared.server_tls() };
    let mut talk = Talk::new(tcp, shared.config().limits.connect_timeout)?;
    let begun = match talk.begins_with_tls().await {
        Ok(true) => talk.secure_as_server(&tls, &shared.metrics, None).await.map(|()| true),
        other => other,
    };
    let mut answering = Answering::new(offer, matches!(begun, Ok(true)), stream_id());
    let (mut outputs, mut last, mut step) = (VecDeque::new(), None, begun.map(|_| Vec::new()));
    loop {
        match step {
            Ok(next) => outputs.extend(next),
            Err(Fault::Classic(error)) => {
                return Err(talk.give_up(answering.farewell(&error), error.to_string()).await);
            }
            Err(Fault::Connection(why)) => return Err(why),
        }
        step = match outputs.pop_front() {
            None => match talk.frame().await {
                Ok(frame) => answering.frame(last.insert(frame)).map_err(Fault::Classic),
                Err(fault) => Err(fault),
            },
            Some(Output::Close(condition)) => {
                return Err(talk.give_up(Bytes::new(), format!("it was told {condition}")).await);
            }
            Some(Output::Opened(opened)) => {
                // What opened the stream is its first element, unless it was the header behind SASL.
                let first = last.filter(|frame| matches!(frame, Frame::Element(_)));
                return Ok((answering, talk, opened, first));
            }
            Some(output) => perform(output, shared, &tls, &mut talk, &mut answering).await,
        };
    }
}

/// Everything but the two ends of a negotiation.
async fn perform(
    output: Output,
    shared: &Shared,
    tls: &ServerTls,
    talk: &mut Talk,
    answering: &mut Answering,
) -> Result<Vec<Output>, Fault> {
    match output {
        Output::Send(bytes) => talk.send(&bytes).await?,
        Output::Restart => talk.framer.restart(),
        Output::StartTls => {
            let to = answering.to().map(Name::to_string);
            talk.secure_as_server(tls, &shared.metrics, to.as_deref()).await?;
            answering.secured();
        }
        Output::Judge(name) => return judged(shared, talk, answering, &name).await,
        Output::Close(_) | Output::Opened(_) => (),
    }
    Ok(Vec::new())
}

async fn judged(shared: &Shared, talk: &Talk, answering: &mut Answering, name: &Name) -> Result<Vec<Output>, Fault> {
    let policy = |why: &str| ClassicError::Told(StreamError::new(StreamCondition::PolicyViolation, why));
    match shared.circumstances(name).admission() {
        Admission::Never(why) => Err(Fault::Classic(policy(why))),
        Admission::Anyhow | Admission::ByCertificate => {
            let verdict = judge(shared, talk.address.ip(), &talk.chain, name).await;
            answering.judged(verdict).map_err(Fault::Classic)
        }
    }
}

fn offer(config: &Config) -> Offer {
    Offer {
        to: Audience::Remote(Arc::clone(&config.hosted)),
        tls_required: true,
        dialback: config.classic.dialback,
        bidi: true,
        max_bytes: config.limits.stanza_bytes,
        idle_seconds: idle_seconds(config),
    }
}

/// For servers of ours. Both directions on one stream would be of no use: they dial for dialback anyway.
fn offer_to_own(config: &Config) -> Offer {
    let attached = config.locals.iter().enumerate().filter(|(_, local)| local.attach.loopback().is_some());
    let entries: HashSet<Entry> = attached.map(|(entry, _)| entry).collect();
    Offer {
        to: Audience::Own(Arc::clone(&config.hosted), Arc::new(entries)),
        tls_required: false,
        dialback: true,
        bidi: false,
        max_bytes: config.limits.stanza_bytes,
        idle_seconds: idle_seconds(config),
    }
}

fn idle_seconds(config: &Config) -> u32 {
    u32::try_from(config.limits.idle_timeout.as_secs()).unwrap_or(u32::MAX)
}
