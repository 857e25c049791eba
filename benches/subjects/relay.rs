//! The limit: component socket → one TLS 1.3 stream → component socket, with no look at the bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use heteronym_net::keys::{DomainKey, FileKey};
use heteronym_net::tls::{Certificates, HostTls};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::ground::{Ground, HOSTS, free_port};
use crate::subject::{Attachment, Children, Running, Subject, connect_when_up, this_program};

/// As much at once as the router takes.
const BUFFER: usize = heteronym_net::wire::BATCH;
/// The first argument of a process that is one end.
pub const PART: &str = "serve-relay";

/// One process at either end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relay;

impl Subject for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn start(&self, ground: &Ground) -> Result<Running, Failure> {
        let (near, far, tls) = (free_port()?, free_port()?, free_port()?);
        let dialled = ground.way_to(tls.port())?;
        let mut children = Children::default();
        let mut end = |which: &str, side: usize, component: SocketAddr, between: SocketAddr| {
            let mut command = this_program(PART)?;
            let addresses = [component.to_string(), between.to_string()];
            children.start(command.arg(which).arg(ground.certificate(HOSTS[side])).args(addresses))
        };
        let far_end = end("far", 1, far, tls)?;
        let near_end = end("near", 0, near, (tls.ip(), dialled).into())?;
        children.wait_until_listening(&[near.port(), far.port()])?;
        let sides = [near, far].map(|address| vec![Attachment::Bare { address }]);
        Ok(Running::new(vec![near_end, far_end], sides, vec![tls.port()], Box::new(children)))
    }
}

/// Runs one end: what a process with [`PART`] does. `near` dials `between` with TLS, `far` takes TLS there;
/// then the first who connects to `component` gets the other end's bytes, and the other way round.
///
/// # Errors
/// Whatever ends it.
pub fn serve(near: bool, certificate: &Path, component: SocketAddr, between: SocketAddr) -> Result<(), Failure> {
    let name = HOSTS[usize::from(!near)];
    let host: Arc<dyn DomainKey> = Arc::new(FileKey::load(certificate)?);
    let tls = HostTls::new(Arc::new(Certificates::new(name, host)))?;
    actix_rt::System::new().block_on(async move {
        if near {
            let dialled = connect_when_up(between)?;
            dialled.set_nodelay(true)?;
            dialled.set_nonblocking(true)?;
            let dialled = TcpStream::from_std(dialled)?;
            join(component, tls.connect(dialled, HOSTS[1]).await.map_err(|error| error.to_string())?.stream).await
        } else {
            let (accepted, _) = TcpListener::bind(between).await?.accept().await?;
            accepted.set_nodelay(true)?;
            join(component, tls.accept(accepted).await.map_err(|error| error.to_string())?.stream).await
        }
    })
}

async fn join(component: SocketAddr, mut secured: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
    let (mut plain, _) = TcpListener::bind(component).await?.accept().await?;
    plain.set_nodelay(true)?;
    // However that ends: the harness has what it wanted.
    let _ = copy_bidirectional_with_sizes(&mut plain, &mut secured, BUFFER, BUFFER).await;
    Ok(())
}
