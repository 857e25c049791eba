//! The limit: a plain relay over one TLS 1.3 stream that never looks at the bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use heteronym::certificates::Certificates;
use heteronym::config::Config;
use heteronym_net::tls::{Certificates as TlsCertificates, HostTls};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// As much at once as the router takes.
const BUFFER: usize = heteronym_net::wire::BATCH;

/// Attempts to reach the other end, 20 ms apart.
const ATTEMPTS: u32 = 500;

type Failure = Box<dyn std::error::Error>;

/// Serves one connection: `near` takes plain bytes and dials `to` with TLS; the other end takes
/// TLS and dials `to` without.
///
/// # Errors
/// Whatever ends it.
pub fn serve(near: bool, configuration: &Path, listen: SocketAddr, to: SocketAddr) -> Result<(), Failure> {
    let config = Config::load(configuration)?;
    let host = Certificates::load(&config)?.host;
    let tls = HostTls::new(Arc::new(TlsCertificates::new(config.host.name.as_str(), host)))?;
    actix_rt::System::new().block_on(async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (accepted, _) = listener.accept().await?;
            accepted.set_nodelay(true)?;
            if let Err(error) = connect(near, accepted, to, &tls).await {
                // Whoever only looked whether somebody listens has gone already.
                drop(error);
            }
        }
    })
}

async fn connect(near: bool, mut accepted: TcpStream, to: SocketAddr, tls: &HostTls) -> Result<(), Failure> {
    if near {
        let dialled = dial_when_up(to).await?;
        let mut secured = tls.connect(dialled, "xmpp.other.isp").await?.stream;
        copy_bidirectional_with_sizes(&mut accepted, &mut secured, BUFFER, BUFFER).await?;
    } else {
        let mut secured = tls.accept(accepted).await?.stream;
        let mut dialled = dial(to).await?;
        copy_bidirectional_with_sizes(&mut secured, &mut dialled, BUFFER, BUFFER).await?;
    }
    Ok(())
}

/// The other end may still be starting.
async fn dial_when_up(to: SocketAddr) -> std::io::Result<TcpStream> {
    for _ in 0..ATTEMPTS {
        if let Ok(stream) = dial(to).await {
            return Ok(stream);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    dial(to).await
}

async fn dial(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
