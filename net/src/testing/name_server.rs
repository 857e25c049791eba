//! A name server of a few lines on 127.0.0.1, UDP and TCP.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::listen::bind_both;

/// Answers by `answer`, which gets a question's bytes and whether they came by UDP; `None` is silence.
pub(crate) async fn serve(
    answer: impl Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let (udp, tcp) = bind_both((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let (udp, tcp) = (UdpSocket::from_std(udp).unwrap(), TcpListener::from_std(tcp).unwrap());
    let address = tcp.local_addr().unwrap();
    let over_tcp = answer.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((size, from)) = udp.recv_from(&mut buffer).await {
            if let Some(bytes) = answer(&buffer[..size], true) {
                udp.send_to(&bytes, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let size = stream.read_u16().await.unwrap();
            let mut question = vec![0; size.into()];
            stream.read_exact(&mut question).await.unwrap();
            if let Some(bytes) = over_tcp(&question, false) {
                stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        }
    });
    address
}
