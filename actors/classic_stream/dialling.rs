//! The dialling side: where a domain's servers are, TCP, TLS, negotiation.

use std::net::SocketAddr;

use heteronym_net::dial;
use heteronym_net::tls::ServerTls;
use heteronym_proto::classic::ClassicError;
use heteronym_proto::classic::candidates::Candidate;
use heteronym_proto::classic::opening::{self, Opening, Wish};
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::Condition;
use tokio::net::TcpStream;

use super::checking::judge;
use super::connecting::{Connected, How, NoStream, unreachable};
use super::parent::Parent;
use super::talk::{Fault, Talk};
use crate::Shared;
use crate::registry::{LookUpAddresses, LookUpServers};
use crate::router::{FindShared, Shares};

/// A stream for a pair that goes by classic S2S.
pub(super) async fn dial_for_pair(
    shared: &Shared,
    parent: Option<Parent>,
    pair: Pair,
    alone: bool,
) -> Result<Connected, NoStream> {
    // Look-ups and dials in one bound: both are what our users can make strangers cost.
    let _dial = shared.dials.try_acquire().map_err(|_| unreachable("too many servers are being dialled at once"))?;
    let config = shared.config();
    let wish = Wish {
        tls_required: true,
        external: shared.server_tls().has(pair.local.as_str()),
        dialback: config.classic.dialback,
        bidi: true,
        from: pair.local,
        to: pair.remote,
    };
    let sharing = parent.filter(|_| config.classic.dialback && !alone);
    dial_server(shared, &wish, sharing.as_ref()).await
}

/// Tries the servers of a domain one after the other, each at all of its addresses; `sharing` knows the
/// streams that may be shared instead.
pub(super) async fn dial_server(shared: &Shared, wish: &Wish, sharing: Option<&Parent>) -> Result<Connected, NoStream> {
    let gone = |_| unreachable("the registry is gone");
    let servers = shared.registry.send(LookUpServers(wish.to.clone())).await.map_err(gone)?;
    let servers = servers.map_err(|why| unreachable(format!("the look-up of its servers failed: {why}")))?;
    let servers = servers.map_err(|error| NoStream::Failed(Condition::RemoteServerNotFound, error.to_string()))?;
    let (mut failed, mut any, mut refused) = (Vec::new(), false, false);
    for server in servers {
        let kind = if server.direct_tls { "direct TLS" } else { "STARTTLS" };
        let text = |why: String| format!("{} port {} ({kind}): {why}", server.host, server.port);
        match addresses_of(shared, &server).await {
            Ok(addresses) if addresses.is_empty() => failed.push(text("it has no address".to_owned())),
            Ok(addresses) => {
                if let Some(other) = shared_with(shared, sharing, &wish.to, &addresses).await {
                    return Err(NoStream::Shared(other));
                }
                any = true;
                match dial_candidate(shared, wish, &server, &addresses).await {
                    Ok(connected) => return Ok(connected),
                    Err(NoUse { why, of_our_domain }) => {
                        refused |= of_our_domain;
                        failed.push(text(why));
                    }
                }
            }
            Err(why) => {
                any = true;
                failed.push(text(why));
            }
        }
    }
    let (condition, why) = (Condition::RemoteServerTimeout, failed.join("; "));
    Err(match (refused, any) {
        (true, _) => NoStream::Refused(why),
        (false, true) => NoStream::Failed(condition, why),
        (false, false) => NoStream::Failed(Condition::RemoteServerNotFound, why),
    })
}

/// Why a server cannot be used.
struct NoUse {
    /// For people.
    why: String,
    /// It does not want our domain, and might take another.
    of_our_domain: bool,
}

impl From<String> for NoUse {
    fn from(why: String) -> Self {
        Self { why, of_our_domain: false }
    }
}

/// A stream to the same server that `domain` may share (target multiplexing): where that server's
/// certificate proves its own domain, it has to prove this one as well.
async fn shared_with(
    shared: &Shared,
    sharing: Option<&Parent>,
    domain: &Name,
    addresses: &[SocketAddr],
) -> Option<StreamId> {
    let Some(Parent::Router(router)) = sharing else { return None };
    let (id, Shares { chain, certified }) = router.send(FindShared(addresses.to_vec())).await.ok().flatten()?;
    let server = addresses.first()?.ip();
    let allowed = !certified || judge(shared, server, &chain, domain).await.is_ok();
    allowed.then_some(id)
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
) -> Result<Connected, NoUse> {
    let config = shared.config();
    let limit = config.limits.connect_timeout;
    let tcp = dial::race(addresses, &config.source, dial::STAGGER, limit).await.map_err(|e| e.to_string())?;
    let address = tcp.peer_addr().map_err(|error| error.to_string())?;
    let opened = open(shared, &shared.server_tls(), wish, tcp, server.direct_tls).await;
    let dialled = async {
        let (talk, opened) = opened?;
        Ok(dialled(shared, wish, talk, opened).await?)
    };
    dialled.await.map_err(|NoUse { why, of_our_domain }| NoUse { why: format!("{address}: {why}"), of_our_domain })
}

/// A stream with a server of ours, at its address.
pub(super) async fn attach(shared: &Shared, address: SocketAddr, pair: Pair) -> Result<Connected, String> {
    let (talk, opened) = open_at(shared, address, &wish_of_own(pair.local, pair.remote)).await?;
    connected(talk, opened, How::Attached)
}

/// What is wanted of a server of ours: TLS costs more than it protects there, unless it insists.
pub(super) fn wish_of_own(from: Name, to: Name) -> Wish {
    Wish { from, to, tls_required: false, external: false, dialback: true, bidi: false }
}

/// Opens a stream with a server of ours.
pub(super) async fn open_at(
    shared: &Shared,
    address: SocketAddr,
    wish: &Wish,
) -> Result<(Talk, opening::Opened), String> {
    let limit = shared.config().limits.connect_timeout;
    let late = |_| format!("{address}: no connection within the time for connecting");
    let tcp = tokio::time::timeout(limit, TcpStream::connect(address)).await.map_err(late)?;
    let tcp = tcp.map_err(|error| format!("{address}: {error}"))?;
    let _ = tcp.set_nodelay(true);
    open(shared, &shared.local_tls(), wish, tcp, false).await.map_err(|NoUse { why, .. }| format!("{address}: {why}"))
}

async fn open(
    shared: &Shared,
    tls: &ServerTls,
    wish: &Wish,
    tcp: TcpStream,
    direct_tls: bool,
) -> Result<(Talk, opening::Opened), NoUse> {
    let mut talk = Talk::new(tcp, shared.config().limits.connect_timeout)?;
    match negotiate(shared, tls, wish, &mut talk, direct_tls).await {
        Ok(opened) => Ok((talk, opened)),
        Err(fault) => {
            let why = talk.give_up(fault.farewell(), fault.to_string()).await;
            Err(NoUse { why, of_our_domain: fault.is_about_our_domain() })
        }
    }
}

async fn negotiate(
    shared: &Shared,
    tls: &ServerTls,
    wish: &Wish,
    talk: &mut Talk,
    direct_tls: bool,
) -> Result<opening::Opened, Fault> {
    let names = (wish.from.as_str(), wish.to.as_str());
    if direct_tls {
        talk.secure_as_client(tls, &shared.metrics, names).await?;
    }
    let (mut opening, mut outputs) = Opening::new(wish.clone(), direct_tls);
    loop {
        for output in std::mem::take(&mut outputs) {
            match output {
                opening::Output::Send(bytes) => talk.send(&bytes).await?,
                opening::Output::Restart => talk.framer.restart(),
                opening::Output::StartTls => {
                    talk.secure_as_client(tls, &shared.metrics, names).await?;
                    outputs = opening.secured();
                }
                opening::Output::Opened(opened) => return Ok(opened),
            }
        }
        if outputs.is_empty() {
            outputs = opening.frame(&talk.frame().await?).map_err(Fault::Classic)?;
        }
    }
}

/// The stream is open; without a certificate that proves the remote domain only where dialback is
/// allowed, which trusts DNS in the same way.
async fn dialled(shared: &Shared, wish: &Wish, talk: Talk, opened: opening::Opened) -> Result<Connected, String> {
    let verdict = judge(shared, talk.address.ip(), &talk.chain, &wish.to).await;
    if let (Err(why), false) = (&verdict, wish.dialback) {
        let why = format!("the certificate of {} is not trusted: {why}", wish.to);
        return Err(talk.give_up(ClassicError::Closed.farewell(), why).await);
    }
    let how = How::Dialled {
        authenticated: opened.authenticated,
        // Dialback trusts DNS, and it was DNS that led to this server: it may answer here (XEP-0288).
        proved: opened.bidi && (verdict.is_ok() || wish.dialback),
        certified: verdict.is_ok(),
        grows: opened.grows,
        features: opened.features,
    };
    connected(talk, opened, how)
}

fn connected(talk: Talk, opened: opening::Opened, how: How) -> Result<Connected, String> {
    let opening::Opened { stream_id, bidi, lang, scope, .. } = opened;
    let Talk { halves, framer, address, chain, .. } = talk;
    let (reader, writer) = halves.ok_or("the connection is gone")?;
    Ok(Connected { reader, writer, framer, address, chain, stream_id, scope, lang, both_ways: bidi, how })
}
