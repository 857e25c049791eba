//! From classic S2S to a link, when a domain federates: behind the end of the classic stream, so that nothing
//! overtakes and nothing is lost or doubled.

use heteronym_proto::pairs::PairState;
use heteronym_proto::status::Via;

use super::ground::{ANA, Ground, JOSE};
use super::sharing::server_of_both;
use crate::support::domain::Domain;
use crate::support::host::Host;
use crate::support::http::{get_json, post};
use crate::support::link::Link;
use crate::support::server::{BY_DIALBACK, Classic, EXTERNAL, SM, Server};
use crate::support::wire::Heard;
use tokio::net::TcpStream;

const PEER: &str = "xmpp.other.isp";
const PAIR: &str = "{\"local\": \"saramago.lit\", \"remote\": \"pessoa.lit\"}";
const END: &str = "</stream:stream>";

/// pessoa.lit has a classic server and no federation record yet; its pair goes by `stream`.
struct Scene {
    ground: Ground,
    host: Host,
    pessoa: Domain,
    server: Server,
    stream: Classic,
}

impl Scene {
    async fn new() -> Self {
        Self::on(Ground::new("").await).await
    }

    async fn on(mut ground: Ground) -> Self {
        let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
        ground.local.tell(JOSE, ANA, "classic").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("classic").await;
        let pessoa = ground.domain_of("pessoa.lit", &host);
        Self { ground, host, pessoa, server, stream }
    }

    /// The domain federates from now on, and an operator says so.
    async fn federate(&mut self) -> Link {
        let tcp = self.federate_slowly().await;
        self.link(tcp).await
    }

    /// The same up to the connection.
    async fn federate_slowly(&mut self) -> TcpStream {
        self.ground.federate("pessoa.lit", &self.host);
        assert_eq!(post(self.ground.router.admin, "/api/pairs/activate", PAIR).0, 202);
        self.host.accept_tcp().await
    }

    /// And from there.
    async fn link(&mut self, tcp: TcpStream) -> Link {
        let mut link = self.host.let_in(tcp).await;
        link.settle().await;
        link
    }

    /// The router has ended its side of a stream that counts.
    async fn hear_end_behind_requests(&mut self) {
        loop {
            match self.stream.wire.hear().await {
                Heard::End => return,
                Heard::Element(element) => assert!(element.is("r", SM), "{element:?}"),
                other => panic!("expected the end of the stream: {other:?}"),
            }
        }
    }

    /// The stream ends on both sides, and the pair goes over the link.
    async fn moves(mut self, mut link: Link) {
        hear_end(&mut self.stream).await;
        self.stream.wire.send(END).await;
        self.ground.local.tell(JOSE, ANA, "first").await;
        link.serve(&self.pessoa).await;
        link.expect("first").await;
        self.ends_federated(link).await;
    }

    /// The pair is on the link, in both directions.
    async fn ends_federated(mut self, mut link: Link) {
        self.ground.local.tell(JOSE, ANA, "over").await;
        link.expect("over").await;
        link.tell(ANA, JOSE, "back").await;
        self.ground.local.expect("back").await;
        let [pair] = &self.ground.router.pairs("saramago.lit", "pessoa.lit").await[..] else { panic!("one pair") };
        assert_eq!((pair.via, pair.state), (Via::Federation, PairState::Active));
        assert!(!self.server.has_been_dialled().await, "once federated, no classic stream");
        drop(link);
        self.ground.end().await;
    }
}

/// The router has ended its side of the stream.
async fn hear_end(stream: &mut Classic) {
    let end = stream.wire.hear().await;
    assert!(matches!(end, Heard::End), "expected the end of the stream: {end:?}");
}

/// The classic stream is at its end, and stanzas wait for the server to have read everything before it.
async fn waits(scene: &mut Scene) {
    hear_end(&mut scene.stream).await;
    for id in ["1", "2", "3"] {
        scene.ground.local.tell(JOSE, ANA, id).await;
    }
    scene.ground.is_quiet().await;
    let (_, queues) = get_json(scene.ground.router.admin, "/api/queues?pair=saramago.lit,pessoa.lit");
    assert_eq!(queues["queues"][0]["count"], 3, "{queues}");
}

/// What waited comes over the link.
async fn comes(link: &mut Link) {
    for id in ["1", "2", "3"] {
        link.expect(id).await;
    }
}

#[tokio::test]
async fn a_pair_goes_over_a_link_behind_the_end_of_its_stream() {
    let mut scene = Scene::new().await;
    let mut link = scene.federate().await;
    waits(&mut scene).await;
    scene.stream.wire.send(END).await;
    link.serve(&scene.pessoa).await;
    comes(&mut link).await;
    scene.ends_federated(link).await;
}

/// The host was there first: the pair is active before the stream ends, and its stanzas wait all the same.
#[tokio::test]
async fn a_pair_that_its_host_activates_waits_for_the_end_of_its_stream() {
    let mut scene = Scene::new().await;
    scene.ground.federate("pessoa.lit", &scene.host);
    assert_eq!(scene.ground.reload(&scene.ground.text).0, 200);
    let mut link = scene.host.dial(&scene.ground.router).await;
    link.settle().await;
    link.activate(&scene.pessoa, "saramago.lit").await;
    waits(&mut scene).await;
    link.tell(ANA, JOSE, "in").await;
    scene.ground.local.expect("in").await;
    scene.stream.wire.send(END).await;
    comes(&mut link).await;
    scene.ends_federated(link).await;
}

/// Nobody asks: the record is looked up again when the answer without one has ended (5 s at least).
#[tokio::test]
async fn a_record_that_appears_is_found_when_the_last_answer_ends() {
    let ground = Ground::new("").await;
    ground.names.set_ttl(1);
    let scene = Scene::on(ground).await;
    scene.ground.federate("pessoa.lit", &scene.host);
    let mut link = scene.host.accept().await;
    link.settle().await;
    scene.moves(link).await;
}

#[tokio::test]
async fn a_host_that_can_be_reached_again_gets_its_pairs_back() {
    let mut ground = Ground::new("").await;
    let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
    ground.federate("pessoa.lit", &host);
    ground.local.tell(JOSE, ANA, "classic").await;
    drop(host.accept_tcp().await);
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("classic").await;
    let mut link = host.accept().await;
    link.settle().await;
    let pessoa = ground.domain_of("pessoa.lit", &host);
    let scene = Scene { ground, host, pessoa, server, stream };
    scene.moves(link).await;
}

#[tokio::test]
async fn a_server_that_never_ends_its_side_is_waited_for_in_bounds() {
    let mut scene = Scene::new().await;
    let mut link = scene.federate().await;
    waits(&mut scene).await;
    scene.stream.wire.expect_closed().await;
    link.serve(&scene.pessoa).await;
    comes(&mut link).await;
    scene.ends_federated(link).await;
}

/// With acknowledgements (XEP-0198) it is known what the server has: an end that it does not answer costs nothing.
#[tokio::test]
async fn what_the_server_has_not_acknowledged_goes_over_the_link_first() {
    for in_order in [false, true] {
        let mut ground = Ground::new("").await;
        let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
        ground.local.tell(JOSE, ANA, "a").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in_counting().await;
        stream.expect_counted("a").await;
        for id in ["b", "c"] {
            ground.local.tell(JOSE, ANA, id).await;
            stream.expect_counted(id).await;
        }
        stream.acknowledge(1).await;
        let pessoa = ground.domain_of("pessoa.lit", &host);
        let mut scene = Scene { ground, host, pessoa, server, stream };
        let mut link = scene.federate().await;
        scene.hear_end_behind_requests().await;
        scene.ground.local.tell(JOSE, ANA, "d").await;
        if in_order {
            scene.stream.wire.send(END).await;
        } else {
            scene.stream.wire.expect_closed().await;
        }
        link.serve(&scene.pessoa).await;
        let expected = if in_order { &["d"][..] } else { &["b", "c", "d"] };
        for id in expected {
            link.expect(id).await;
        }
        scene.ends_federated(link).await;
    }
}

/// The stream had another remote domain as a guest, which does not federate: it gets a stream of its own.
#[tokio::test]
async fn a_domain_that_shared_the_stream_keeps_to_classic() {
    let mut ground = Ground::new("").await;
    let host = ground.host(PEER).await;
    let server = server_of_both(&ground, &["pessoa.lit", "campos.lit"], true).await;
    ground.local.tell(JOSE, ANA, "classic").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("classic").await;
    ground.local.tell(JOSE, "alvaro@campos.lit", "guest").await;
    stream.take_key("saramago.lit", "campos.lit").await;
    stream.expect("guest").await;
    let pessoa = ground.domain_of("pessoa.lit", &host);
    let mut scene = Scene { ground, host, pessoa, server, stream };
    let mut link = scene.federate().await;
    hear_end(&mut scene.stream).await;
    scene.ground.local.tell(JOSE, "alvaro@campos.lit", "still").await;
    scene.stream.wire.send(END).await;
    let mut own = scene.server.accept(BY_DIALBACK).await;
    own.take_key("saramago.lit", "campos.lit").await;
    own.expect("still").await;
    scene.ground.local.tell(JOSE, ANA, "first").await;
    link.serve(&scene.pessoa).await;
    link.expect("first").await;
    scene.ends_federated(link).await;
}

/// While the link is dialled the stream carries the pair still: an answer of ours is no exception, and opens no
/// second way.
#[tokio::test]
async fn an_answer_of_ours_goes_where_the_pairs_stanzas_go() {
    let mut scene = Scene::new().await;
    let mut inbound = scene.server.dial(scene.ground.s2s(), "pessoa.lit", "saramago.lit").await;
    inbound.authenticate("pessoa.lit", "saramago.lit").await;
    let tcp = scene.federate_slowly().await;
    let body = "x".repeat(300_000);
    inbound.wire.send(format!("<message from='{ANA}' to='{JOSE}' id='large'><body>{body}</body></message>")).await;
    let error = scene.stream.wire.element().await;
    assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("large")));
    scene.ground.local.tell(JOSE, ANA, "before").await;
    scene.stream.expect("before").await;
    let mut link = scene.link(tcp).await;
    waits(&mut scene).await;
    scene.stream.wire.send(END).await;
    link.serve(&scene.pessoa).await;
    comes(&mut link).await;
    scene.ends_federated(link).await;
}

/// Its host activates the pair while a stream is dialled for it: there is a better way, whatever comes of the dial.
#[tokio::test]
async fn what_waits_for_a_stream_goes_by_the_link_that_came_first() {
    for opens in [true, false] {
        let mut ground = Ground::new("").await;
        let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
        let pessoa = ground.domain_of("pessoa.lit", &host);
        ground.local.tell(JOSE, ANA, "1").await;
        let tcp = server.accept_tcp().await;
        ground.federate("pessoa.lit", &host);
        assert_eq!(ground.reload(&ground.text).0, 200);
        let mut link = host.dial(&ground.router).await;
        link.settle().await;
        link.activate(&pessoa, "saramago.lit").await;
        if opens {
            server.answer(tcp, EXTERNAL).await.let_in("").await;
        } else {
            drop(tcp);
        }
        link.expect("1").await;
        ground.local.tell(JOSE, ANA, "2").await;
        link.expect("2").await;
        drop(link);
        ground.end().await;
    }
}
