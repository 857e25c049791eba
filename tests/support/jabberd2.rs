//! jabberd2's router by hand: the other side of its login, and routes.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heteronym_proto::checker::Scope;
use heteronym_proto::element::Element;
use heteronym_proto::header::{Header, STREAM_NAMESPACE};
use heteronym_proto::jabberd2::NAMESPACE;
use md5::{Digest as _, Md5};
use tokio::net::{TcpListener, TcpStream};

use super::host::SASL;
use super::soon;
use super::wire::Wire;

/// Who may be its default route, and by which secret.
pub(crate) const USER: &str = "heteronym";
pub(crate) const SECRET: &str = "s3cret";

const NONCE: &str = "/2RP/Vze2hg==";
/// What stanzas in routes are in.
pub(crate) const CLIENT: &str = "jabber:client";

/// Where it listens.
pub(crate) struct Jabberd2 {
    listener: TcpListener,
}

/// A connection with whoever wants to be its default route.
pub(crate) struct Routes {
    /// Its stream.
    pub(crate) wire: Wire<TcpStream>,
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2831 §2.1.2.1, with what this file knows; `what` is `AUTHENTICATE:` or nothing.
fn proof(cnonce: &str, what: &str) -> String {
    let mut a1 = Md5::digest(format!("{USER}:jabberd-router:{SECRET}")).to_vec();
    a1.extend_from_slice(format!(":{NONCE}:{cnonce}").as_bytes());
    let a2 = hex(Md5::digest(format!("{what}jabberd-router/jabberd-router")));
    hex(Md5::digest(format!("{}:{NONCE}:00000001:{cnonce}:auth:{a2}", hex(Md5::digest(a1)))))
}

impl Jabberd2 {
    /// Listens on a port of its own.
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Where.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The entry of a router that attaches to it.
    pub(crate) fn entry(&self, domains: &[&str]) -> String {
        let (address, domains) = (self.address(), domains.join("', '"));
        format!(
            "[[local]]\nname = 'two'\ndomains = ['{domains}']\n\
             attach = {{ kind = 'jabberd2', address = '{address}', user = '{USER}', secret = '{SECRET}' }}\n"
        )
    }

    /// The next connection, up to where the secret was proved or not; whether it was.
    pub(crate) async fn login(&self) -> (Routes, bool) {
        let (tcp, _) = soon("a dial to jabberd2's router", self.listener.accept()).await.unwrap();
        let mut routes = Routes { wire: Wire::new(tcp, Scope::new(NAMESPACE, &[("stream", STREAM_NAMESPACE)])) };
        let mechanisms = format!("<mechanisms xmlns='{SASL}'><mechanism>DIGEST-MD5</mechanism></mechanisms>");
        routes.greet(&mechanisms).await;
        let auth = routes.wire.element().await;
        assert_eq!((auth.is("auth", SASL), auth.attr("mechanism")), (true, Some("DIGEST-MD5")), "{auth:?}");
        let challenge = format!("realm=\"jabberd-router\", nonce=\"{NONCE}\", qop=\"auth\", algorithm=md5-sess");
        routes.sasl("challenge", &STANDARD.encode(&challenge)).await;
        let response = routes.wire.element().await;
        let said = String::from_utf8(STANDARD.decode(response.text()).unwrap()).unwrap();
        let cnonce = said.split("cnonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let good = said.contains(&format!("username=\"{USER}\""))
            && said.contains(&format!("response={},", proof(&cnonce, "AUTHENTICATE:")));
        if good {
            routes.sasl("success", &STANDARD.encode(format!("rspauth={}", proof(&cnonce, ":")))).await;
            routes.wire.restart();
            routes.greet("").await;
        }
        (routes, good)
    }

    /// Lets the next one be the default route.
    pub(crate) async fn accept(&self) -> Routes {
        let (mut routes, good) = self.login().await;
        assert!(good, "the secret is wrong");
        routes.bind("").await;
        routes
    }
}

impl Routes {
    async fn greet(&mut self, features: &str) {
        let asked = self.wire.header().await;
        assert_eq!(asked.namespace, NAMESPACE);
        let header = Header { from: asked.to, to: None, id: Some("a".to_owned()), ..asked };
        self.wire.send(header.to_bytes()).await;
        self.wire.send(format!("<stream:features>{features}</stream:features>")).await;
    }

    /// Sends an element of SASL.
    pub(crate) async fn sasl(&mut self, name: &str, text: &str) {
        self.wire.send(format!("<{name} xmlns='{SASL}'>{text}</{name}>")).await;
    }

    /// Answers the bind that comes next, with this attribute.
    pub(crate) async fn bind(&mut self, error: &str) {
        let bind = self.wire.element().await;
        assert_eq!((bind.is("bind", NAMESPACE), bind.attr("name")), (true, Some(USER)), "{bind:?}");
        assert!(bind.child("default", NAMESPACE).is_some(), "{bind:?}");
        self.wire.send(format!("<bind{error}><default></default></bind>")).await;
    }

    /// Says that it serves a domain, or does not any more.
    pub(crate) async fn serves(&mut self, domain: &str, type_: &str) {
        self.wire.send(format!("<presence{type_} from='{domain}'></presence>")).await;
    }

    /// Sends a stanza of one of its users.
    pub(crate) async fn route(&mut self, to: &str, stanza: &str) {
        self.wire.send(format!("<route to='{to}' from='sm'>{stanza}</route>")).await;
    }

    /// Sends a message.
    pub(crate) async fn tell(&mut self, from: &str, to: &str, id: &str) {
        let domain = to.rsplit('@').next().unwrap();
        let stanza = format!("<message xmlns='{CLIENT}' from='{from}' to='{to}' id='{id}'><body>{id}</body></message>");
        self.route(domain, &stanza).await;
    }

    /// The stanza in the route that comes next, which is for this domain.
    pub(crate) async fn stanza(&mut self, domain: &str) -> Element {
        let route = self.wire.element().await;
        let (from, to) = (route.attr("from"), route.attr("to"));
        assert_eq!((route.is("route", NAMESPACE), from, to), (true, Some(USER), Some(domain)), "{route:?}");
        let mut stanzas = route.children();
        let stanza = stanzas.next().unwrap().clone();
        assert!(stanzas.next().is_none(), "one stanza in a route: {route:?}");
        assert_eq!(stanza.namespace(), CLIENT, "{route:?}");
        stanza
    }

    /// Expects nothing but the message with this id next.
    pub(crate) async fn expect(&mut self, domain: &str, id: &str) {
        let stanza = self.stanza(domain).await;
        assert_eq!((stanza.name(), stanza.attr("id")), ("message", Some(id)), "{stanza:?}");
    }
}
