//! From the dial or the accept to an authenticated host stream: TCP, TLS, negotiation.

use std::net::{SocketAddr, TcpStream as StdTcpStream};

use heteronym_net::dial;
use heteronym_net::keepalive::keep_alive;
use heteronym_net::listen::first_byte_is_tls;
use heteronym_net::tls::{Secured, TlsError};
use heteronym_net::wire::{Reader, Stream, Writer, join, split};
use heteronym_proto::framer::{Frame, Framer, FramingError};
use heteronym_proto::host_stream::Role;
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::name::Name;
use heteronym_proto::negotiation::{Negotiation, Output};
use heteronym_proto::registry::Target;
use heteronym_proto::transcript::Exporter;
use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::crypto::Asker;
use crate::listener::{Place, stream_id};
use crate::registry::LookUpAddresses;
use crate::{Config, Shared};

/// How a connection begins.
pub enum Start {
    /// We dial; where the look-up fails, the address at which the host was reached last.
    Dial(LinkId, Target, Option<SocketAddr>),
    /// Somebody dialled us; the place is for the handshake.
    Accepted(StdTcpStream, Place),
}

/// An authenticated connection.
pub(super) struct Connected {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) framer: Framer,
    pub(super) exporter: Exporter,
    pub(super) address: SocketAddr,
    pub(super) peer: Name,
    pub(super) lang: Option<String>,
    pub(super) role: Role,
    /// Until when the peer's certificate is good, Unix seconds.
    pub(super) certified_until: u64,
}

/// Reaches the host, secures the connection and negotiates the stream.
pub(super) async fn connect(shared: Shared, start: Start) -> Result<Connected, String> {
    match start {
        Start::Dial(_, target, reached_at) => dial_host(&shared, target, reached_at).await,
        Start::Accepted(stream, place) => {
            let limit = shared.config().limits.connect_timeout;
            let accepted = tokio::time::timeout(limit, accept_host(&shared, stream)).await;
            match &accepted {
                Ok(Ok(_)) => place.established(),
                Ok(Err(_)) => drop(place),
                Err(_) => place.late(),
            }
            accepted.map_err(|_| "no host stream within the time for connecting".to_owned())?
        }
    }
}

async fn dial_host(shared: &Shared, target: Target, reached_at: Option<SocketAddr>) -> Result<Connected, String> {
    let _dial = shared.dials.try_acquire().map_err(|_| "too many hosts are being dialled at once")?;
    let config = shared.config();
    let limit = config.limits.connect_timeout;
    let (addresses, host) = (find_host(shared, &config, &target, reached_at).await?, target.host);
    let tcp = dial::race(&addresses, &config.source, dial::STAGGER, limit).await.map_err(|e| e.to_string())?;
    let address = tcp.peer_addr().map_err(|error| error.to_string())?;
    watch(&tcp);
    let negotiated = async {
        let secured = shared.tls().connect(tcp, host.as_str()).await;
        shared.metrics.tls_handshake("client", secured.is_ok());
        let secured = secured.map_err(|error| error.to_string())?;
        let until = judge(shared, &secured, &host).await?;
        let (negotiation, outputs) = Negotiation::dial(config.host.clone(), host.clone());
        negotiate(shared, secured, negotiation, outputs, until).await
    };
    let late = || "no host stream within the time for connecting".to_owned();
    let result = tokio::time::timeout(limit, negotiated).await.map_err(|_| late()).and_then(|result| result);
    result.map_err(|why| format!("{host} at {address}: {why}"))
}

/// Has the kernel watch the connection; where it cannot, the stream's own probes find out.
fn watch(tcp: &TcpStream) {
    if let Err(error) = keep_alive(tcp) {
        debug!(%error, "the kernel does not watch the connection");
    }
}

/// A name server that does not answer takes no host from us that was reached before; TLS shows who is there.
async fn find_host(
    shared: &Shared,
    config: &Config,
    Target { host, ports, .. }: &Target,
    reached_at: Option<SocketAddr>,
) -> Result<Vec<SocketAddr>, String> {
    if let Some(addresses) = config.peers.get(host).filter(|addresses| !addresses.is_empty()) {
        return Ok(addresses.clone());
    }
    let question = LookUpAddresses { host: host.clone(), ports: ports.clone() };
    match (shared.registry.send(question).await.map_err(|_| "the registry is gone")?, reached_at) {
        (Ok(found), _) if found.is_empty() => Err(format!("{host} has no address")),
        (Ok(found), _) => Ok(found),
        (Err(why), Some(address)) => {
            warn!(%host, why, %address, "the look-up failed: the address is tried where the host was reached last");
            Ok(vec![address])
        }
        (Err(why), None) => Err(why),
    }
}

async fn judge(shared: &Shared, secured: &Secured, host: &Name) -> Result<u64, String> {
    let judged = shared.crypto.judge_chain(Asker::Host(host.clone()), secured.peer_chain.clone(), host.clone());
    judged.await.map_err(|why| format!("the certificate of {host} is not trusted: {why}"))
}

async fn accept_host(shared: &Shared, stream: StdTcpStream) -> Result<Connected, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut tcp = TcpStream::from_std(stream).map_err(text)?;
    watch(&tcp);
    if !first_byte_is_tls(&tcp).await.map_err(text)? {
        tcp = start_tls(shared, tcp).await?;
    }
    let secured = shared.tls().accept(tcp).await;
    shared.metrics.tls_handshake("server", secured.is_ok());
    let secured = secured.map_err(|error| error.to_string())?;
    let negotiation = Negotiation::accept_secured(shared.config().host.clone(), stream_id());
    negotiate(shared, secured, negotiation, Vec::new(), 0).await
}

/// The part of the negotiation that comes before STARTTLS; afterwards the peer speaks TLS.
async fn start_tls(shared: &Shared, tcp: TcpStream) -> Result<TcpStream, String> {
    let address = tcp.peer_addr().map_err(|error| error.to_string())?;
    let (reader, writer) = split(Stream::Plain(tcp));
    let framer = Framer::new(UNAUTHENTICATED_BYTES);
    let asker = Asker::of(address.ip());
    let mut talk = Talk { reader, writer, framer, asker, chain: Vec::new(), certified_until: 0 };
    let negotiation = Negotiation::accept_plain(shared.config().host.clone(), stream_id());
    match talk.run(shared, negotiation, Vec::new()).await? {
        Ended::StartTls if talk.framer.buffered() == 0 => {
            join(talk.reader, talk.writer).ok_or_else(|| "the connection is gone".to_owned())
        }
        Ended::StartTls => Err("bytes behind the request for STARTTLS, which TLS does not protect".to_owned()),
        Ended::Established(..) => Err("a host stream without TLS".to_owned()),
    }
}

async fn negotiate(
    shared: &Shared,
    secured: Secured,
    negotiation: Negotiation,
    outputs: Vec<Output>,
    certified_until: u64,
) -> Result<Connected, String> {
    let address = secured.stream.peer_addr().map_err(|error| error.to_string())?;
    let exporter = Exporter::new(&secured.exporter);
    let (reader, writer) = split(secured.stream);
    let framer = Framer::new(UNAUTHENTICATED_BYTES);
    let asker = Asker::of(address.ip());
    let mut talk = Talk { reader, writer, framer, asker, chain: secured.peer_chain, certified_until };
    match talk.run(shared, negotiation, outputs).await? {
        Ended::Established(peer, lang, role) => {
            let Talk { reader, writer, framer, certified_until, .. } = talk;
            Ok(Connected { reader, writer, framer, exporter, address, peer, lang, role, certified_until })
        }
        Ended::StartTls => Err("STARTTLS inside TLS".to_owned()),
    }
}

/// A negotiation with its connection.
struct Talk {
    reader: Reader,
    writer: Writer,
    framer: Framer,
    asker: Asker,
    chain: Vec<Vec<u8>>,
    /// Of the chain, once it was judged; Unix seconds.
    certified_until: u64,
}

enum Ended {
    Established(Name, Option<String>, Role),
    StartTls,
}

impl Talk {
    async fn run(&mut self, shared: &Shared, negotiation: Negotiation, outputs: Vec<Output>) -> Result<Ended, String> {
        let mut negotiation = Some(negotiation);
        let mut outputs = outputs;
        loop {
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Send(bytes) => self.writer.write(&bytes).await.map_err(|error| error.to_string())?,
                    Output::Restart => self.framer.restart(),
                    Output::StartTls => return Ok(Ended::StartTls),
                    Output::Established { peer, lang, role } => return Ok(Ended::Established(peer, lang, role)),
                    Output::Close(why) => {
                        let _ = self.writer.shutdown().await;
                        return Err(format!("the peer was told {why}"));
                    }
                    Output::Judge(name) => {
                        let judged = shared.crypto.judge_chain(self.asker.clone(), self.chain.clone(), name);
                        let verdict = judged.await;
                        let state = negotiation.take().ok_or("negotiation ended")?;
                        let step = state.judged(verdict.map(|until| self.certified_until = until));
                        let (next, more) = self.stepped(step).await?;
                        negotiation = Some(next);
                        outputs = more;
                    }
                }
            }
            if outputs.is_empty() {
                let frame = self.frame().await?;
                let state = negotiation.take().ok_or("negotiation ended")?;
                let step = match frame {
                    Ok(frame) => state.frame(frame),
                    Err(fault) => state.unreadable(fault),
                };
                let (next, more) = self.stepped(step).await?;
                negotiation = Some(next);
                outputs = more;
            }
        }
    }

    async fn stepped(
        &mut self,
        step: Result<(Negotiation, Vec<Output>), heteronym_proto::negotiation::NegotiationError>,
    ) -> Result<(Negotiation, Vec<Output>), String> {
        match step {
            Ok(step) => Ok(step),
            Err(error) => {
                let _ = self.writer.write(&error.farewell()).await;
                let _ = self.writer.shutdown().await;
                Err(error.to_string())
            }
        }
    }

    async fn frame(&mut self) -> Result<Result<Frame, FramingError>, String> {
        loop {
            if let Some(frame) = self.framer.next_frame().transpose() {
                return Ok(frame);
            }
            let read = self.reader.read().await.map_err(|error| TlsError::from_io(error).to_string())?;
            self.framer.push(read.ok_or("the peer closed the connection during negotiation")?);
        }
    }
}
