//! Attaching to a subject: XEP-0114, or nothing but a socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use heteronym_proto::component::{Dialled, Dialler, Secret};
use heteronym_proto::framer::Framer;
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;

use crate::Failure;
use crate::subject::{Attachment, connect_when_up};

/// A link that stanzas can be written to and read from.
///
/// # Errors
/// If nobody listens there, or the component is not let in.
pub fn attach(attachment: &Attachment) -> Result<TcpStream, Failure> {
    match attachment {
        Attachment::Bare { address } => {
            let stream = connect_when_up(*address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Attachment::Component { address, domains, secret } => {
            let stream = connect_when_up(*address)?;
            stream.set_nodelay(true)?;
            let domain = domains.first().ok_or("a component without a domain")?;
            let shake = shake_hands(stream, domain, secret);
            shake.map_err(|error| format!("the component {domain} at {address}: {error}").into())
        }
    }
}

fn shake_hands(mut stream: TcpStream, domain: &str, secret: &str) -> Result<TcpStream, Failure> {
    let (mut dialler, header) = Dialler::new(domain, Secret::new(secret.to_owned()));
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    stream.write_all(&header)?;
    loop {
        let Some(frame) = framer.next_frame().map_err(|error| error.stream_error())? else {
            let mut read = BytesMut::zeroed(4096);
            let length = stream.read(&mut read)?;
            if length == 0 {
                return Err("the connection was closed".into());
            }
            read.truncate(length);
            framer.push(read);
            continue;
        };
        match dialler.frame(frame)? {
            Dialled::Send(bytes) => stream.write_all(&bytes)?,
            Dialled::Up => return Ok(stream),
        }
    }
}
