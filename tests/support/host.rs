//! A peer host by hand: dials the router and is dialled by it, with certificates of its own.

use std::sync::Arc;

use heteronym::demo::authority::Issued;
use heteronym_net::keys::DomainKey;
use heteronym_net::tls::{Certificates, HostTls, Secured};
use heteronym_net::wire::Stream;
use heteronym_proto::activation::Setting;
use heteronym_proto::checker::Scope;
use heteronym_proto::element::Element;
use heteronym_proto::header::{Header, STREAM_NAMESPACE};
use heteronym_proto::name::Name;
use heteronym_proto::transcript::Exporter;
use tokio::net::{TcpListener, TcpStream};

use super::link::Link;
use super::router::Running;
use super::stage::ROUTER;
use super::wire::Wire;
use super::{name, soon};

/// Where the elements of SASL live.
pub(crate) const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Where those of STARTTLS live.
pub(crate) const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Where those of the protocol live.
pub(crate) const FEDERATION: &str = "urn:xmpp:federation:0";
/// What asks to be let in.
pub(crate) const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

/// A peer host.
pub(crate) struct Host {
    /// Its name.
    pub(crate) name: Name,
    tls: HostTls,
    listener: TcpListener,
}

fn tls(called: &str, key: Arc<dyn DomainKey>) -> HostTls {
    HostTls::new(Arc::new(Certificates::new(called, key))).unwrap()
}

impl Host {
    /// The host `called` with a certificate that may be for anybody; listens on a port of its own.
    pub(crate) async fn new(called: &str, issued: &Issued) -> Self {
        Self::with_key(called, issued.key().unwrap()).await
    }

    /// The same with a key that shows whatever it likes.
    pub(crate) async fn with_key(called: &str, key: Arc<dyn DomainKey>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { name: name(called), tls: tls(called, key), listener }
    }

    /// Shows another certificate from now on.
    pub(crate) fn renew(&mut self, issued: &Issued) {
        self.tls = tls(self.name.as_str(), issued.key().unwrap());
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Another of its addresses, with this port.
    pub(crate) async fn also_listening(&self, address: &str, port: u16) -> TcpListener {
        TcpListener::bind((address, port)).await.unwrap()
    }

    /// The header of its streams to `to`.
    pub(crate) fn header(&self, to: &str) -> String {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='{STREAM_NAMESPACE}' \
             from='{}' to='{to}' version='1.0'>",
            self.name
        )
    }

    /// TLS to the router, at once.
    pub(crate) async fn secure(&self, router: &Running) -> Secured {
        let tcp = soon("the federation port", TcpStream::connect(router.federation)).await.unwrap();
        self.secure_over(tcp).await
    }

    /// TLS to the router over a connection that there is.
    pub(crate) async fn secure_over(&self, tcp: TcpStream) -> Secured {
        soon("the TLS handshake", self.tls.connect(tcp, ROUTER)).await.unwrap()
    }

    /// A stream to the router up to SASL: what it says to `<auth/>` comes next.
    pub(crate) async fn knock(&self, secured: Secured) -> Link {
        let mut link = self.link(secured);
        let features = self.open(&mut link.wire).await;
        let mechanisms = features.child("mechanisms", SASL).unwrap();
        assert_eq!(mechanisms.children().map(Element::text).collect::<Vec<_>>(), ["EXTERNAL"]);
        link.wire.send(AUTH).await;
        link
    }

    /// Expects that the router does not believe that this is the host it calls itself.
    pub(crate) async fn expect_not_let_in(&self, router: &Running) {
        let mut link = self.knock(self.secure(router).await).await;
        let failure = link.wire.element().await;
        assert!(failure.is("failure", SASL) && failure.child("not-authorized", SASL).is_some(), "{failure:?}");
        link.wire.expect_end().await;
    }

    /// A stream to the router that is authenticated; nobody has chosen it yet.
    pub(crate) async fn dial(&self, router: &Running) -> Link {
        let secured = self.secure(router).await;
        self.authenticate(secured).await
    }

    /// The same over TLS that there is.
    pub(crate) async fn authenticate(&self, secured: Secured) -> Link {
        let mut link = self.knock(secured).await;
        let success = link.wire.element().await;
        assert!(success.is("success", SASL), "{success:?}");
        link.wire.restart();
        let features = self.open(&mut link.wire).await;
        assert!(features.child("federation", FEDERATION).is_some(), "{features:?}");
        link
    }

    /// Sends a header; the features that come back.
    async fn open(&self, wire: &mut Wire<Stream>) -> Element {
        wire.send(self.header(ROUTER)).await;
        let header = wire.header().await;
        assert_eq!(header.from.as_deref(), Some(ROUTER));
        let features = wire.element().await;
        assert!(features.is("features", STREAM_NAMESPACE), "{features:?}");
        features
    }

    /// The next connection that the router dials, before TLS.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        soon("a dial by the router", self.listener.accept()).await.unwrap().0
    }

    /// The next connection that the router dials, with TLS and nothing said on it.
    pub(crate) async fn accept_tls(&self) -> Wire<Stream> {
        let tcp = self.accept_tcp().await;
        let secured = soon("the TLS handshake", self.tls.accept(tcp)).await.unwrap();
        Wire::new(secured.stream, Scope::SERVER)
    }

    /// The next stream that the router dials, authenticated; nobody has chosen it yet.
    pub(crate) async fn accept(&self) -> Link {
        let tcp = self.accept_tcp().await;
        self.let_in(tcp).await
    }

    /// The same on a connection that was accepted.
    pub(crate) async fn let_in(&self, tcp: TcpStream) -> Link {
        let secured = soon("the TLS handshake", self.tls.accept(tcp)).await.unwrap();
        assert_eq!(secured.server_name.as_deref(), Some(self.name.as_str()), "the target is the TLS server name");
        let mut link = self.link(secured);
        let mechanisms = format!("<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>");
        self.greet(&mut link.wire, "1", &mechanisms).await;
        let auth = link.wire.element().await;
        assert!(auth.is("auth", SASL) && auth.attr("mechanism") == Some("EXTERNAL"), "{auth:?}");
        link.wire.send(format!("<success xmlns='{SASL}'/>")).await;
        link.wire.restart();
        self.greet(&mut link.wire, "2", &format!("<federation xmlns='{FEDERATION}'/>")).await;
        link
    }

    async fn greet(&self, wire: &mut Wire<Stream>, id: &str, feature: &str) {
        let Header { from, to, namespace, .. } = wire.header().await;
        assert_eq!((from.as_deref(), to.as_deref()), (Some(ROUTER), Some(self.name.as_str())));
        assert_eq!(namespace, "jabber:server");
        let header = self.header(ROUTER).replace(" from=", &format!(" id='{id}' from="));
        wire.send(format!("{header}<stream:features>{feature}</stream:features>")).await;
    }

    fn link(&self, secured: Secured) -> Link {
        let exporter = Exporter::new(&secured.exporter);
        let setting = Setting { our_host: self.name.clone(), peer_host: name(ROUTER), exporter };
        Link::new(Wire::new(secured.stream, Scope::SERVER), setting)
    }

    /// Whether another connection waits to be accepted; nothing is waited for.
    pub(crate) async fn has_been_dialled(&self) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, self.listener.accept()).await.is_ok()
    }
}
