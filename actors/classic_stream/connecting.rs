//! From the dial or the accept to an open stream: servers, TCP, TLS, negotiation.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;

use bytes::Bytes;
use heteronym_net::dial;
use heteronym_net::listen::first_byte_is_tls;
use heteronym_net::tls::{ServerSecured, TlsError};
use heteronym_net::wire::{Reader, Stream, Writer, join, split};
use heteronym_proto::checker::Scope;
use heteronym_proto::classic::answering::{self, Answering, Offer};
use heteronym_proto::classic::candidates::Candidate;
use heteronym_proto::classic::opening::{self, Opening, Wish};
use heteronym_proto::classic::{ClassicError, Features};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::Condition;
use tokio::net::TcpStream;

use crate::crypto::JudgeChain;
use crate::listener::{Place, stream_id};
use crate::registry::{LookUpAddresses, LookUpServers};
use crate::{Config, Shared};

/// How a stream begins.
pub enum Start {
    /// We dial, for a pair that has stanzas.
    Dial(Pair),
    /// Somebody dialled us; the place is for the handshake.
    Accepted(StdTcpStream, Place),
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
        features: Features,
    },
    /// They did.
    Accepted {
        /// The domain that its certificate proved, and ours.
        authenticated: Option<(Name, Name)>,
        /// What led to the end of the negotiation.
        first: Option<Frame>,
    },
}

/// Why there is no stream: what senders are told, and for people.
pub(super) type NoStream = (Condition, String);

fn unreachable(why: impl Into<String>) -> NoStream {
    (Condition::RemoteServerTimeout, why.into())
}

pub(super) async fn connect(shared: Shared, start: Start) -> Result<Connected, NoStream> {
    match start {
        Start::Dial(pair) => {
            let wish = Wish {
                tls_required: true,
                external: shared.server_tls().has(pair.local.as_str()),
                dialback: shared.config().classic.dialback,
                bidi: true,
                from: pair.local,
                to: pair.remote,
            };
            dial_server(&shared, &wish).await
        }
        Start::Accepted(stream, place) => {
            let limit = shared.config().limits.connect_timeout;
            let accepted = tokio::time::timeout(limit, accept_server(&shared, stream)).await;
            drop(place);
            accepted.map_err(|_| unreachable("no stream within the time for connecting"))?.map_err(unreachable)
        }
    }
}

/// Tries the servers of a domain one after the other, each at all of its addresses.
pub(super) async fn dial_server(shared: &Shared, wish: &Wish) -> Result<Connected, NoStream> {
    // Look-ups and dials in one bound: both are what our users can make strangers cost.
    let _dial = shared.dials.try_acquire().map_err(|_| unreachable("too many servers are being dialled at once"))?;
    let gone = |_| unreachable("the registry is gone");
    let servers = shared.registry.send(LookUpServers(wish.to.clone())).await.map_err(gone)?;
    let servers = servers.map_err(|why| unreachable(format!("the look-up of its servers failed: {why}")))?;
    let servers = servers.map_err(|error| (Condition::RemoteServerNotFound, error.to_string()))?;
    let (mut failed, mut any) = (Vec::new(), false);
    for server in servers {
        let text = |why: String| format!("{} port {}: {why}", server.host, server.port);
        match addresses_of(shared, &server).await {
            Ok(addresses) if addresses.is_empty() => failed.push(text("it has no address".to_owned())),
            Ok(addresses) => {
                any = true;
                match dial_candidate(shared, wish, &server, &addresses).await {
                    Ok(connected) => return Ok(connected),
                    Err(why) => failed.push(text(why)),
                }
            }
            Err(why) => {
                any = true;
                failed.push(text(why));
            }
        }
    }
    let condition = if any { Condition::RemoteServerTimeout } else { Condition::RemoteServerNotFound };
    Err((condition, failed.join("; ")))
}

async fn addresses_of(shared: &Shared, server: &Candidate) -> Result<Vec<SocketAddr>, String> {
    let host = Name::parse(&server.host).map_err(|error| error.to_string())?;
    let question = LookUpAddresses { host, ports: vec![server.port] };
    shared.registry.send(question).await.map_err(|_| "the registry is gone".to_owned())?
}

async fn dial_candidate(
    shared: &Shared,
    wish: &Wish,
    server: &Candidate,
    addresses: &[SocketAddr],
) -> Result<Connected, String> {
    let config = shared.config();
    let limit = config.limits.connect_timeout;
    let tcp = dial::race(addresses, &config.source, dial::STAGGER, limit).await.map_err(|e| e.to_string())?;
    let negotiated = tokio::time::timeout(limit, open(shared, wish, tcp, server.direct_tls)).await;
    negotiated.map_err(|_| "no stream within the time for connecting".to_owned())?
}

async fn open(shared: &Shared, wish: &Wish, tcp: TcpStream, direct_tls: bool) -> Result<Connected, String> {
    let mut talk = Talk::new(tcp)?;
    if direct_tls {
        talk.secure_as_client(shared, wish).await?;
    }
    let (mut opening, mut outputs) = Opening::new(wish.clone(), direct_tls);
    loop {
        for output in std::mem::take(&mut outputs) {
            match output {
                opening::Output::Send(bytes) => talk.send(&bytes).await?,
                opening::Output::Restart => talk.framer.restart(),
                opening::Output::StartTls => {
                    talk.secure_as_client(shared, wish).await?;
                    outputs = opening.secured();
                }
                opening::Output::Opened(opened) => return dialled(shared, wish, talk, opened).await,
            }
        }
        if outputs.is_empty() {
            let step = talk.frame().await.and_then(|frame| opening.frame(&frame).map_err(Fault::Classic));
            match step {
                Ok(next) => outputs = next,
                Err(fault) => return Err(talk.give_up(fault.farewell(), fault.to_string()).await),
            }
        }
    }
}

/// The stream is open; without a certificate that proves the remote domain only where dialback is
/// allowed, which trusts DNS in the same way.
async fn dialled(shared: &Shared, wish: &Wish, talk: Talk, opened: opening::Opened) -> Result<Connected, String> {
    let verdict = judge(shared, &talk.chain, &wish.to).await;
    if let (Err(why), false) = (&verdict, wish.dialback) {
        let why = format!("the certificate of {} is not trusted: {why}", wish.to);
        return Err(talk.give_up(ClassicError::Closed.farewell(), why).await);
    }
    let opening::Opened { stream_id, authenticated, bidi, features, lang, scope } = opened;
    // Dialback trusts DNS, and it was DNS that led to this server: it may answer here (XEP-0288).
    let proved = bidi && (verdict.is_ok() || wish.dialback);
    let how = How::Dialled { authenticated, proved, features };
    let Talk { halves, framer, address, chain } = talk;
    let (reader, writer) = halves.ok_or(GONE)?;
    Ok(Connected { reader, writer, framer, address, chain, stream_id, scope, lang, both_ways: bidi, how })
}

/// Whether a chain proves `name`.
pub(super) async fn judge(shared: &Shared, chain: &[Vec<u8>], name: &Name) -> Result<(), String> {
    if chain.is_empty() {
        return Err("it shows no certificate".to_owned());
    }
    let judged = shared.crypto.send(JudgeChain { chain: chain.to_vec(), name: name.clone() }).await;
    judged
        .ok()
        .flatten()
        .map(|verdict| verdict.map(drop))
        .unwrap_or_else(|| Err("the check broke down; see the log".to_owned()))
}

async fn accept_server(shared: &Shared, stream: StdTcpStream) -> Result<Connected, String> {
    let (mut talk, direct_tls) = answer(shared, stream).await?;
    let mut answering = Answering::new(offer(&shared.config()), direct_tls, stream_id());
    let (mut outputs, mut last) = (VecDeque::new(), None);
    loop {
        let step = match outputs.pop_front() {
            None => match talk.frame().await {
                Ok(frame) => answering.frame(last.insert(frame)).map_err(Fault::Classic),
                Err(fault) => Err(fault),
            },
            Some(answering::Output::Send(bytes)) => talk.send(&bytes).await.map(nothing).map_err(Fault::Connection),
            Some(answering::Output::Restart) => {
                talk.framer.restart();
                Ok(Vec::new())
            }
            Some(answering::Output::StartTls) => {
                let to = answering.to().map(Name::to_string);
                let secured = talk.secure_as_server(shared, to.as_deref()).await;
                answering.secured();
                secured.map(nothing).map_err(Fault::Connection)
            }
            Some(answering::Output::Judge(name)) => {
                let verdict = judge(shared, &talk.chain, &name).await;
                answering.judged(verdict).map_err(Fault::Classic)
            }
            Some(answering::Output::Close(condition)) => {
                return Err(talk.give_up(Bytes::new(), format!("it was told {condition}")).await);
            }
            Some(answering::Output::Opened(opened)) => return accepted(talk, &answering, opened, last),
        };
        match step {
            Ok(next) => outputs.extend(next),
            Err(Fault::Classic(error)) => {
                return Err(talk.give_up(answering.farewell(&error), error.to_string()).await);
            }
            Err(Fault::Connection(why)) => return Err(why),
        }
    }
}

fn nothing<T>((): ()) -> Vec<T> {
    Vec::new()
}

/// TLS at once where the first byte says so.
async fn answer(shared: &Shared, stream: StdTcpStream) -> Result<(Talk, bool), String> {
    let text = |error: std::io::Error| error.to_string();
    let tcp = TcpStream::from_std(stream).map_err(text)?;
    let direct_tls = first_byte_is_tls(&tcp).await.map_err(text)?;
    let mut talk = Talk::new(tcp)?;
    if direct_tls {
        talk.secure_as_server(shared, None).await?;
    }
    Ok((talk, direct_tls))
}

fn offer(config: &Config) -> Offer {
    Offer {
        domains: Some(Arc::clone(&config.hosted)),
        starttls: true,
        tls_required: true,
        dialback: config.classic.dialback,
        bidi: true,
        max_bytes: config.limits.stanza_bytes,
    }
}

fn accepted(
    talk: Talk,
    answering: &Answering,
    opened: answering::Opened,
    last: Option<Frame>,
) -> Result<Connected, String> {
    let answering::Opened { authenticated, bidi, lang, scope, .. } = opened;
    // What opened the stream is its first element, unless it was the header behind SASL.
    let first = last.filter(|frame| matches!(frame, Frame::Element(_)));
    let Talk { halves, framer, address, chain } = talk;
    let (reader, writer) = halves.ok_or(GONE)?;
    let stream_id = answering.stream_id().to_owned();
    let how = How::Accepted { authenticated, first };
    Ok(Connected { reader, writer, framer, address, chain, stream_id, scope, lang, both_ways: bidi, how })
}

/// Why a negotiation ends.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Classic(ClassicError),
    #[error("{0}")]
    Connection(String),
}

impl Fault {
    fn farewell(&self) -> Bytes {
        match self {
            Self::Classic(error) => error.farewell(),
            Self::Connection(_) => Bytes::new(),
        }
    }
}

/// A negotiation's connection.
struct Talk {
    /// Gone while TLS takes the connection over.
    halves: Option<(Reader, Writer)>,
    framer: Framer,
    address: SocketAddr,
    chain: Vec<Vec<u8>>,
}

impl Talk {
    fn new(tcp: TcpStream) -> Result<Self, String> {
        let address = tcp.peer_addr().map_err(|error| error.to_string())?;
        let halves = Some(split(Stream::Plain(tcp)));
        Ok(Self { halves, framer: Framer::new(UNAUTHENTICATED_BYTES), address, chain: Vec::new() })
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (_, writer) = self.halves.as_mut().ok_or(GONE)?;
        writer.write(bytes).await.map_err(|error| error.to_string())
    }

    async fn frame(&mut self) -> Result<Frame, Fault> {
        loop {
            match self.framer.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => (),
                Err(error) => return Err(Fault::Classic(ClassicError::Told(error.stream_error()))),
            }
            let (reader, _) = self.halves.as_mut().ok_or_else(|| Fault::Connection(GONE.to_owned()))?;
            let read = reader.read().await.map_err(|error| Fault::Connection(error.to_string()))?;
            let read = read.ok_or_else(|| Fault::Connection("it closed the connection".to_owned()))?;
            self.framer.push(read);
        }
    }

    /// Says goodbye as well as it can; gives back why.
    async fn give_up(self, farewell: Bytes, why: String) -> String {
        if let Some((_reader, mut writer)) = self.halves {
            let _ = writer.write(&farewell).await;
            let _ = writer.shutdown().await;
        }
        why
    }

    async fn secure_as_client(&mut self, shared: &Shared, wish: &Wish) -> Result<(), String> {
        let (local, remote) = (wish.from.as_str(), wish.to.as_str());
        let tcp = self.plain()?;
        self.secured(shared, "client", shared.server_tls().connect(tcp, local, remote).await)
    }

    async fn secure_as_server(&mut self, shared: &Shared, to: Option<&str>) -> Result<(), String> {
        let tcp = self.plain()?;
        self.secured(shared, "server", shared.server_tls().accept(tcp, to).await)
    }

    /// The connection below, on which TLS begins now; nothing may have been sent ahead of it.
    fn plain(&mut self) -> Result<TcpStream, String> {
        if self.framer.buffered() > 0 {
            return Err("bytes behind the request for STARTTLS, which TLS does not protect".to_owned());
        }
        let (reader, writer) = self.halves.take().ok_or(GONE)?;
        join(reader, writer).ok_or_else(|| GONE.to_owned())
    }

    fn secured(
        &mut self,
        shared: &Shared,
        role: &'static str,
        secured: Result<ServerSecured, TlsError>,
    ) -> Result<(), String> {
        shared.metrics.tls_handshake(role, secured.is_ok());
        let ServerSecured { stream, peer_chain } = secured.map_err(|error| error.to_string())?;
        self.halves = Some(split(stream));
        self.framer = Framer::new(UNAUTHENTICATED_BYTES);
        self.chain = peer_chain;
        Ok(())
    }
}

const GONE: &str = "the connection is gone";
