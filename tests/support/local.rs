//! A local server by hand: an XEP-0114 component, or a server that takes components.

use std::net::SocketAddr;
use std::sync::Arc;

use heteronym_proto::checker::Scope;
use heteronym_proto::component::{Accepted, Acceptor, ComponentError, Dialled, Dialler, Secret};
use heteronym_proto::element::Element;
use heteronym_proto::framer::Frame;
use heteronym_proto::hosted::Hosted;
use tokio::net::{TcpListener, TcpStream};

use super::wire::{Heard, Wire};
use super::{message, name, soon};

/// The namespace of component streams.
pub(crate) const COMPONENT: &str = "jabber:component:accept";
/// Where the conditions of stanza errors live.
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// A component that is attached, or tries to.
pub(crate) struct Local {
    /// Its stream.
    pub(crate) wire: Wire<TcpStream>,
}

impl Local {
    /// A connection to the router's component port, and nothing said on it.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon("the component port", TcpStream::connect(address)).await.unwrap();
        Self { wire: Wire::new(stream, Scope::COMPONENT) }
    }

    /// Attaches as `domain`.
    pub(crate) async fn attach(address: SocketAddr, domain: &str, secret: &str) -> Self {
        let mut local = Self::knock(address, domain, secret).await;
        let up = local.wire.element().await;
        assert!(up.is("handshake", COMPONENT), "{up:?}");
        local
    }

    /// Sends the header of a stream in `namespace` to `domain`; what the router says to that comes next.
    pub(crate) async fn open(address: SocketAddr, namespace: &str, domain: &str) -> Self {
        let mut local = Self::connect(address).await;
        let streams = "http://etherx.jabber.org/streams";
        local.send(format!("<stream:stream xmlns='{namespace}' xmlns:stream='{streams}' to='{domain}'>")).await;
        local
    }

    /// Up to where the router expects the handshake.
    pub(crate) async fn greet(address: SocketAddr, domain: &str) -> Self {
        let mut local = Self::open(address, COMPONENT, domain).await;
        local.wire.header().await;
        local
    }

    /// Sends header and handshake; what the router says to that comes next.
    pub(crate) async fn knock(address: SocketAddr, domain: &str, secret: &str) -> Self {
        let mut local = Self::connect(address).await;
        let (mut dialler, header) = Dialler::new(domain, Secret::new(secret.to_owned()));
        local.wire.send(header).await;
        let answer = local.wire.header().await;
        match dialler.frame(Frame::Header(answer.to_bytes())).unwrap() {
            Dialled::Send(handshake) => local.wire.send(handshake).await,
            Dialled::Up => panic!("up without a handshake"),
        }
        local
    }

    /// Sends a stanza, or anything else.
    pub(crate) async fn send(&mut self, stanza: impl AsRef<[u8]>) {
        self.wire.send(stanza).await;
    }

    /// Sends a message.
    pub(crate) async fn tell(&mut self, from: &str, to: &str, id: &str) {
        self.send(message(from, to, id)).await;
    }

    /// Expects nothing but the message with this id next.
    pub(crate) async fn expect(&mut self, id: &str) {
        let stanza = self.wire.element().await;
        assert!(stanza.is("message", COMPONENT) && stanza.attr("id") == Some(id), "expected {id}: {stanza:?}");
        assert_eq!(stanza.child("body", COMPONENT).map(Element::text), Some(id));
    }

    /// Expects nothing but the error about stanza `id` next.
    pub(crate) async fn expect_error(&mut self, id: &str, condition: &str) {
        self.hear_error(id, condition).await;
    }

    /// The same where its text has `words` in it.
    pub(crate) async fn expect_error_saying(&mut self, id: &str, condition: &str, words: &str) {
        let text = self.hear_error(id, condition).await;
        assert!(text.contains(words), "expected {words}: {text}");
    }

    /// Expects nothing but the error about stanza `id` next; its text.
    pub(crate) async fn hear_error(&mut self, id: &str, condition: &str) -> String {
        let stanza = self.wire.element().await;
        assert_eq!((stanza.attr("type"), stanza.attr("id")), (Some("error"), Some(id)), "{stanza:?}");
        let error = stanza.child("error", COMPONENT).unwrap();
        assert!(error.child(condition, STANZAS).is_some(), "expected {condition}: {error:?}");
        error.child("text", STANZAS).map(Element::text).unwrap_or_default().to_owned()
    }

    /// Answers the ping that comes next.
    pub(crate) async fn answer_ping(&mut self) {
        let ping = self.wire.element().await;
        self.send(pong(&ping)).await;
    }
}

/// The answer to a ping (XEP-0199).
pub(crate) fn pong(ping: &Element) -> String {
    assert!(ping.child("ping", "urn:xmpp:ping").is_some(), "expected a ping: {ping:?}");
    let attr = |name| ping.attr(name).unwrap();
    format!("<iq type='result' from='{}' to='{}' id='{}'/>", attr("to"), attr("from"), attr("id"))
}

/// A server with a component port, which the router dials.
pub(crate) struct ComponentPort {
    listener: TcpListener,
    secret: &'static str,
}

impl ComponentPort {
    /// Listens for whoever knows `secret`.
    pub(crate) async fn open(secret: &'static str) -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), secret }
    }

    /// Where.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection, and nothing said on it.
    pub(crate) async fn accept_tcp(&self) -> Wire<TcpStream> {
        let (stream, _) = soon("a dial to the component port", self.listener.accept()).await.unwrap();
        Wire::new(stream, Scope::COMPONENT)
    }

    /// Lets the next connection in as the component `domain`, if it knows the secret.
    pub(crate) async fn accept(&self, domain: &str) -> Result<Local, ComponentError> {
        let mut wire = self.accept_tcp().await;
        let hosted: Hosted = [(name(domain), 0)].into_iter().collect();
        let secrets = vec![Some(Secret::new(self.secret.to_owned()))];
        let mut acceptor = Acceptor::new(Arc::new(hosted), Arc::new(secrets), "s1".to_owned());
        loop {
            let frame = match wire.hear().await {
                Heard::Header(header) => Frame::Header(header.to_bytes()),
                Heard::Element(element) => Frame::Element(element.to_bytes(COMPONENT)),
                Heard::End | Heard::Closed => return Err(ComponentError::Closed),
            };
            match acceptor.frame(frame) {
                Ok(Accepted::Send(bytes)) => wire.send(bytes).await,
                Ok(Accepted::Up(_, greeting)) => {
                    wire.send(greeting).await;
                    return Ok(Local { wire });
                }
                Err(error) => {
                    wire.send(acceptor.farewell(&error)).await;
                    return Err(error);
                }
            }
        }
    }
}
