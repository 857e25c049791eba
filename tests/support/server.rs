//! A server of classic S2S by hand: dials the router, or is dialled by it.

use std::net::SocketAddr;
use std::sync::Arc;

use heteronym::demo::authority::Issued;
use heteronym_net::certificate::Facts;
use heteronym_net::keys::DomainKey;
use heteronym_net::tls::ServerTls;
use heteronym_net::wire::Stream;
use heteronym_proto::checker::Scope;
use heteronym_proto::dialback::{DialbackSecret, Ends};
use heteronym_proto::element::Element;
use heteronym_proto::header::{Header, STREAM_NAMESPACE};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::server::Acceptor;

use super::host::{AUTH, SASL, TLS};
use super::link::SERVER;
use super::wire::Wire;
use super::{message, name, soon};

/// Where dialback lives.
pub(crate) const DIALBACK: &str = "jabber:server:dialback";
/// What a server offers that takes certificates.
pub(crate) const EXTERNAL: &str =
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>";
/// What a server offers that takes dialback, and goes on where it fails.
pub(crate) const BY_DIALBACK: &str = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
/// What a server offers that takes both directions on one stream.
pub(crate) const BIDI: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";

/// What a server offers that acknowledges stanzas (XEP-0198).
pub(crate) const ACKS: &str = "<sm xmlns='urn:xmpp:sm:3'/>";
/// Where the elements of XEP-0198 live.
pub(crate) const SM: &str = "urn:xmpp:sm:3";

/// A server, with certificates that may be for anybody.
pub(crate) struct Server {
    tls: ServerTls,
    listener: TcpListener,
    secret: DialbackSecret,
}

/// A stream with the router.
pub(crate) struct Classic {
    /// Its elements.
    pub(crate) wire: Wire<Stream>,
    /// Its id, which the receiving side gave it.
    pub(crate) id: String,
    /// What the receiving side offers.
    pub(crate) features: Element,
    /// What the router has shown: its certificates, leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// How TLS began, where the router dialled.
    pub(crate) hello: Hello,
    secret: DialbackSecret,
}

/// What a TLS client says first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Whom it wants to talk to (SNI).
    pub(crate) server_name: Option<String>,
    /// What it wants to speak (ALPN).
    pub(crate) protocols: Vec<String>,
}

impl Hello {
    /// Looks at what has come, and takes none of it.
    async fn peek(tcp: &TcpStream) -> Self {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let come = soon("a TLS client", tcp.peek(&mut bytes)).await.unwrap();
            assert!(come > 0, "the connection ended where TLS was to begin");
            let mut acceptor = Acceptor::default();
            acceptor.read_tls(&mut &bytes[..come]).unwrap();
            if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error).unwrap() {
                let hello = accepted.client_hello();
                let protocols = hello.alpn().into_iter().flatten();
                let protocols = protocols.map(|protocol| String::from_utf8(protocol.to_vec()).unwrap()).collect();
                return Self { server_name: hello.server_name().map(str::to_owned), protocols };
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The header of a stream.
pub(crate) fn header(from: &str, to: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='{STREAM_NAMESPACE}' \
         xmlns:db='{DIALBACK}' from='{from}' to='{to}'{id} version='1.0'>"
    )
}

fn ends(from: &str, to: &str) -> Ends {
    Ends { from: name(from), to: name(to) }
}

impl Server {
    /// Shows these certificates for these domains; listens on a port of its own.
    pub(crate) async fn new(certificates: &[(&str, &Issued)]) -> Self {
        Self::on("127.0.0.1:0", certificates).await
    }

    /// The same at this address.
    pub(crate) async fn on(address: &str, certificates: &[(&str, &Issued)]) -> Self {
        let keys = certificates.iter().map(|(domain, issued)| {
            let key: Arc<dyn DomainKey> = issued.key().unwrap();
            ((*domain).to_owned(), key)
        });
        let listener = TcpListener::bind(address).await.unwrap();
        Self { tls: ServerTls::new(keys).unwrap(), listener, secret: DialbackSecret::new("a server by hand") }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection that the router dials, and nothing said on it.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        soon("a dial by the router", self.listener.accept()).await.unwrap().0
    }

    /// Whether another connection waits to be accepted; nothing is waited for.
    pub(crate) async fn has_been_dialled(&self) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, self.listener.accept()).await.is_ok()
    }

    /// The next stream that the router dials, in the clear and with these features offered.
    pub(crate) async fn accept_clear(&self, offers: &str) -> Wire<TcpStream> {
        let mut plain = Wire::new(self.accept_tcp().await, Scope::DIALBACK);
        let asked = plain.header().await;
        plain.send(greeting(&asked, "plain", offers)).await;
        plain
    }

    /// The next stream that the router dials, after STARTTLS and with these features offered.
    pub(crate) async fn accept(&self, offers: &str) -> Classic {
        let tcp = self.accept_tcp().await;
        self.answer(tcp, offers).await
    }

    /// The same on a connection that was accepted.
    pub(crate) async fn answer(&self, tcp: TcpStream, offers: &str) -> Classic {
        let mut plain = Wire::new(tcp, Scope::DIALBACK);
        let asked = plain.header().await;
        let starttls = format!("<starttls xmlns='{TLS}'><required/></starttls>");
        plain.send(greeting(&asked, "plain", &starttls)).await;
        let element = plain.element().await;
        assert!(element.is("starttls", TLS), "{element:?}");
        plain.send(format!("<proceed xmlns='{TLS}'/>")).await;
        self.answer_tls(plain.into_io(), offers).await
    }

    /// The same where TLS comes next.
    pub(crate) async fn answer_tls(&self, tcp: TcpStream, offers: &str) -> Classic {
        let hello = Hello::peek(&tcp).await;
        let secured = soon("the TLS handshake", self.tls.accept(tcp, None)).await.unwrap();
        let greeted = self.greet(secured.stream, offers, "their-id").await;
        Classic { chain: secured.peer_chain, hello, ..greeted }
    }

    /// The next stream that the router dials, where TLS comes first (XEP-0368).
    pub(crate) async fn accept_tls(&self, offers: &str) -> Classic {
        let tcp = self.accept_tcp().await;
        self.answer_tls(tcp, offers).await
    }

    /// The next stream over loopback, where nobody asks for TLS.
    pub(crate) async fn accept_plain(&self, offers: &str, id: &str) -> Classic {
        let tcp = self.accept_tcp().await;
        self.greet(Stream::Plain(tcp), offers, id).await
    }

    async fn greet(&self, stream: Stream, offers: &str, id: &str) -> Classic {
        let mut wire = Wire::new(stream, Scope::DIALBACK);
        let asked = wire.header().await;
        wire.send(greeting(&asked, id, offers)).await;
        let features = Element::new("features", STREAM_NAMESPACE);
        let (chain, hello) = (Vec::new(), Hello::default());
        Classic { wire, id: id.to_owned(), features, chain, hello, secret: self.secret.clone() }
    }

    /// A stream to the router up to the features behind STARTTLS.
    pub(crate) async fn dial(&self, router: SocketAddr, from: &str, to: &str) -> Classic {
        let tcp = soon("the S2S port", TcpStream::connect(router)).await.unwrap();
        let mut plain = Wire::new(tcp, Scope::DIALBACK);
        plain.send(header(from, to, "")).await;
        plain.header().await;
        let features = plain.element().await;
        assert!(features.child("starttls", TLS).is_some(), "{features:?}");
        plain.send(format!("<starttls xmlns='{TLS}'/>")).await;
        let proceed = plain.element().await;
        assert!(proceed.is("proceed", TLS), "{proceed:?}");
        self.secure(plain.into_io(), from, to).await
    }

    /// The same where TLS comes first (XEP-0368).
    pub(crate) async fn dial_tls(&self, router: SocketAddr, from: &str, to: &str) -> Classic {
        let tcp = soon("the S2S port", TcpStream::connect(router)).await.unwrap();
        self.secure(tcp, from, to).await
    }

    /// A connection to the router where TLS comes next, and nothing said behind it.
    pub(crate) async fn secured(&self, tcp: TcpStream, from: &str, to: &str) -> Wire<Stream> {
        let secured = soon("the TLS handshake", self.tls.connect(tcp, from, to)).await.unwrap();
        Wire::new(secured.stream, Scope::DIALBACK)
    }

    async fn secure(&self, tcp: TcpStream, from: &str, to: &str) -> Classic {
        let secured = soon("the TLS handshake", self.tls.connect(tcp, from, to)).await.unwrap();
        let opened = self.open(secured.stream, from, to).await;
        Classic { chain: secured.peer_chain, ..opened }
    }

    /// A stream to a port that wants no TLS.
    pub(crate) async fn dial_plain(&self, router: SocketAddr, from: &str, to: &str) -> Classic {
        let tcp = soon("the port for our own servers", TcpStream::connect(router)).await.unwrap();
        self.open(Stream::Plain(tcp), from, to).await
    }

    async fn open(&self, stream: Stream, from: &str, to: &str) -> Classic {
        let mut wire = Wire::new(stream, Scope::DIALBACK);
        wire.send(header(from, to, "")).await;
        let answer = wire.header().await;
        let features = wire.element().await;
        let (chain, hello) = (Vec::new(), Hello::default());
        Classic { wire, id: answer.id.unwrap(), features, chain, hello, secret: self.secret.clone() }
    }

    /// Uses another dialback secret from now on.
    pub(crate) fn with_secret(self, secret: &str) -> Self {
        Self { secret: DialbackSecret::new(secret), ..self }
    }

    /// Answers the question for a key of ours that comes next, on a stream of its own.
    pub(crate) async fn answer_verify(&self, offers: &str, verdict: impl Fn(bool) -> &'static str) {
        let mut asked = self.accept(offers).await;
        asked.answer_verify(verdict).await;
    }
}

fn greeting(asked: &Header, id: &str, offers: &str) -> String {
    let (from, to) = (asked.to.as_deref().unwrap_or_default(), asked.from.as_deref().unwrap_or_default());
    format!("{}<stream:features>{offers}</stream:features>", header(from, to, &format!(" id='{id}'")))
}

impl Classic {
    /// The domains of the certificate that the router has shown.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.chain.first().map(|leaf| Facts::read(leaf).unwrap().names).unwrap_or_default()
    }

    /// Whether the receiving side offers the feature `name` of `namespace`.
    pub(crate) fn offers(&self, name: &str, namespace: &str) -> bool {
        self.features.child(name, namespace).is_some()
    }

    /// Authenticates with the certificate, up to the features behind it.
    pub(crate) async fn authenticate(&mut self, from: &str, to: &str) {
        self.wire.send(AUTH).await;
        let success = self.wire.element().await;
        assert!(success.is("success", SASL), "{success:?}");
        self.wire.restart();
        self.wire.send(header(from, to, "")).await;
        self.id = self.wire.header().await.id.unwrap();
        self.features = self.wire.element().await;
    }

    /// Takes the router's certificate, up to our features behind it.
    pub(crate) async fn let_in(&mut self, offers: &str) {
        let auth = self.wire.element().await;
        assert!(auth.is("auth", SASL) && auth.attr("mechanism") == Some("EXTERNAL"), "{auth:?}");
        self.wire.send(format!("<success xmlns='{SASL}'/>")).await;
        self.restart(offers).await;
    }

    /// Greets the stream that begins anew, with these features offered.
    pub(crate) async fn restart(&mut self, offers: &str) {
        self.wire.restart();
        let asked = self.wire.header().await;
        self.wire.send(greeting(&asked, "restarted", offers)).await;
    }

    /// Refuses the router's certificate.
    pub(crate) async fn refuse_certificate(&mut self) {
        let auth = self.wire.element().await;
        assert!(auth.is("auth", SASL), "{auth:?}");
        self.wire.send(format!("<failure xmlns='{SASL}'><not-authorized/></failure>")).await;
    }

    /// Sends a key for a pair, and hears no answer yet.
    pub(crate) async fn send_key(&mut self, from: &str, to: &str) {
        let key = self.secret.key(&ends(from, to), &self.id);
        self.wire.send(format!("<db:result from='{from}' to='{to}'>{key}</db:result>")).await;
    }

    /// Expects the router's verdict on a key; `type` is `valid`, `invalid` or `error`.
    pub(crate) async fn expect_verdict(&mut self, from: &str, to: &str, type_: &str) -> Element {
        let verdict = self.wire.element().await;
        let got = (verdict.attr("from"), verdict.attr("to"), verdict.attr("type"));
        assert_eq!(got, (Some(to), Some(from), Some(type_)), "{verdict:?}");
        assert!(verdict.is("result", DIALBACK));
        verdict
    }

    /// Expects a key of the router's next, for this pair; the key.
    pub(crate) async fn expect_key(&mut self, from: &str, to: &str) -> String {
        let result = self.wire.element().await;
        assert!(result.is("result", DIALBACK), "expected a key: {result:?}");
        assert_eq!((result.attr("from"), result.attr("to")), (Some(from), Some(to)), "{result:?}");
        result.text().to_owned()
    }

    /// Gives a verdict on the router's key.
    pub(crate) async fn judge_key(&mut self, from: &str, to: &str, type_: &str) {
        self.wire.send(format!("<db:result from='{to}' to='{from}' type='{type_}'/>")).await;
    }

    /// Expects a key, and finds it valid.
    pub(crate) async fn take_key(&mut self, from: &str, to: &str) {
        self.expect_key(from, to).await;
        self.judge_key(from, to, "valid").await;
    }

    /// Answers the question for a key of ours that comes next.
    pub(crate) async fn answer_verify(&mut self, verdict: impl Fn(bool) -> &'static str) {
        let verify = self.wire.element().await;
        assert!(verify.is("verify", DIALBACK), "{verify:?}");
        let attr = |name| verify.attr(name).unwrap();
        let (from, to, id) = (attr("from"), attr("to"), attr("id"));
        let type_ = verdict(self.secret.verify(&ends(to, from), id, verify.text()));
        self.wire.send(format!("<db:verify from='{to}' to='{from}' id='{id}' type='{type_}'/>")).await;
    }

    /// Asks the router, as authoritative server of `of`, about a key; its answer.
    pub(crate) async fn verify(&mut self, from: &str, of: &str, id: &str, key: &str) -> String {
        self.wire.send(format!("<db:verify from='{from}' to='{of}' id='{id}'>{key}</db:verify>")).await;
        let answer = self.wire.element().await;
        assert!(answer.is("verify", DIALBACK) && answer.attr("id") == Some(id), "{answer:?}");
        answer.attr("type").unwrap().to_owned()
    }

    /// Takes the router's certificate, and counts its stanzas from there.
    pub(crate) async fn let_in_counting(&mut self) {
        self.let_in(ACKS).await;
        let enable = self.wire.element().await;
        assert!(enable.is("enable", SM), "{enable:?}");
        self.wire.send(format!("<enabled xmlns='{SM}'/>")).await;
    }

    /// The next element that is no request for an acknowledgement.
    pub(crate) async fn next_but_requests(&mut self) -> Element {
        loop {
            let element = self.wire.element().await;
            if !element.is("r", SM) {
                return element;
            }
        }
    }

    /// Expects nothing but the message with this id next, and requests for acknowledgements before it.
    pub(crate) async fn expect_counted(&mut self, id: &str) {
        let stanza = self.next_but_requests().await;
        assert!(stanza.is("message", SERVER) && stanza.attr("id") == Some(id), "expected {id}: {stanza:?}");
    }

    /// Acknowledges so many stanzas, and knows that the router has heard it.
    pub(crate) async fn acknowledge(&mut self, h: u32) {
        self.wire.send(format!("<a xmlns='{SM}' h='{h}'/>")).await;
        self.how_far().await;
    }

    /// Asks how many stanzas the router has counted; it has heard everything before then.
    pub(crate) async fn how_far(&mut self) -> u32 {
        self.wire.send(format!("<r xmlns='{SM}'/>")).await;
        let answer = self.next_but_requests().await;
        assert!(answer.is("a", SM), "{answer:?}");
        answer.attr("h").unwrap().parse().unwrap()
    }

    /// Sends a message.
    pub(crate) async fn tell(&mut self, from: &str, to: &str, id: &str) {
        self.wire.send(message(from, to, id)).await;
    }

    /// Expects nothing but the message with this id next.
    pub(crate) async fn expect(&mut self, id: &str) {
        let stanza = self.wire.element().await;
        assert!(stanza.is("message", SERVER) && stanza.attr("id") == Some(id), "expected {id}: {stanza:?}");
    }
}
