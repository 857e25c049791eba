//! Connections between hosts: who is let in, which one is used, and what happens without one.

use std::sync::Arc;

use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym_proto::checker::Scope;
use heteronym_proto::control::{Control, IdentityRequest};
use heteronym_proto::stream_error::Condition;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::host::{AUTH, Host, SASL, TLS};
use crate::support::link::Link;
use crate::support::local::{Local, pong};
use crate::support::soon;
use crate::support::stage::{DECIDER, PEER, ROUTER, Set, Stage, World};
use crate::support::wire::{Heard, Wire};

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";

#[tokio::test]
async fn a_host_with_a_certificate_for_another_name_is_not_let_in() {
    let stage = Stage::new().await;
    let issued = stage.world.authority.issue(&Request::new(["xmpp.third.isp"], KeyKind::P256)).unwrap();
    let impostor = Host::new(PEER, &issued).await;
    impostor.expect_not_let_in(&stage.world.router).await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_with_a_certificate_of_an_unknown_root_is_not_let_in() {
    let stage = Stage::new().await;
    let issued = Authority::new("Nobody's").unwrap().issue(&Request::new([PEER], KeyKind::P256)).unwrap();
    let impostor = Host::new(PEER, &issued).await;
    impostor.expect_not_let_in(&stage.world.router).await;
    stage.end().await;
}

/// TLS 1.3 tells it with an alert, which the client sees when it reads.
#[tokio::test]
async fn a_host_without_a_certificate_is_not_let_in() {
    let stage = Stage::new().await;
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(stage.world.authority.root_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let anonymous = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tcp = TcpStream::connect(stage.world.router.federation).await.unwrap();
    let handshake = TlsConnector::from(Arc::new(anonymous)).connect(ServerName::try_from(ROUTER).unwrap(), tcp);
    let tls = soon("the handshake", handshake).await.unwrap();
    let mut wire = Wire::new(tls, Scope::SERVER);
    wire.expect_closed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_calls_itself_by_the_routers_name_is_not_let_in() {
    let stage = Stage::new().await;
    let issued = stage.world.authority.issue(&Request::new([ROUTER], KeyKind::P256)).unwrap();
    let impostor = Host::new(ROUTER, &issued).await;
    let mut wire = Wire::new(impostor.secure(&stage.world.router).await.stream, Scope::SERVER);
    wire.send(impostor.header(ROUTER)).await;
    wire.header().await;
    wire.expect_error(Condition::ImproperAddressing).await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_may_not_become_another_after_sasl() {
    let stage = Stage::new().await;
    let secured = stage.world.host.secure(&stage.world.router).await;
    let mut link = stage.world.host.knock(secured).await;
    assert!(link.wire.element().await.is("success", SASL));
    link.wire.restart();
    link.wire.send(stage.world.host.header(ROUTER).replace(PEER, "xmpp.third.isp")).await;
    link.wire.header().await;
    link.wire.expect_error(Condition::InvalidFrom).await;
    stage.end().await;
}

#[tokio::test]
async fn a_stream_to_another_host_is_host_unknown() {
    let stage = Stage::new().await;
    for to in ["xmpp.third.isp", "saramago.lit"] {
        let mut wire = Wire::new(stage.world.host.secure(&stage.world.router).await.stream, Scope::SERVER);
        wire.send(stage.world.host.header(to)).await;
        wire.header().await;
        wire.expect_error(Condition::HostUnknown).await;
    }
    stage.end().await;
}

/// A plain connection to the federation port up to where STARTTLS is offered, and nothing else.
async fn plain(world: &World) -> Wire<TcpStream> {
    let tcp = TcpStream::connect(world.router.federation).await.unwrap();
    let mut wire = Wire::new(tcp, Scope::SERVER);
    wire.send(world.host.header(ROUTER)).await;
    wire.header().await;
    let features = wire.element().await;
    assert!(features.child("starttls", TLS).is_some(), "{features:?}");
    assert!(features.child("mechanisms", SASL).is_none(), "nothing but TLS before TLS: {features:?}");
    wire
}

#[tokio::test]
async fn starttls_leads_to_the_same_link_as_direct_tls() {
    let world = World::new().await;
    let mut wire = plain(&world).await;
    wire.send(format!("<starttls xmlns='{TLS}'/>")).await;
    let proceed = wire.element().await;
    assert!(proceed.is("proceed", TLS), "{proceed:?}");
    let secured = world.host.secure_over(wire.into_io()).await;
    let mut link = world.host.authenticate(secured).await;
    link.settle().await;
    link.activate(&world.domain("pessoa.lit"), "saramago.lit").await;
    let mut local = world.attach().await;
    link.tell(ANA, JOSE, "in").await;
    local.expect("in").await;
    local.tell(JOSE, ANA, "out").await;
    link.expect("out").await;
    world.router.drain().await;
}

#[tokio::test]
async fn sasl_without_tls_is_not_authorized() {
    let stage = Stage::new().await;
    let mut wire = plain(&stage.world).await;
    wire.send(AUTH).await;
    wire.expect_error(Condition::NotAuthorized).await;
    stage.end().await;
}

/// Whatever stands in the plain stream behind `<starttls/>` must not count as if TLS had protected it.
#[tokio::test]
async fn bytes_behind_starttls_end_the_connection() {
    let stage = Stage::new().await;
    let mut wire = plain(&stage.world).await;
    wire.send(format!("<starttls xmlns='{TLS}'/>{}", stage.world.host.header(ROUTER))).await;
    let said = wire.hear().await;
    if let Heard::Element(proceed) = &said {
        assert!(proceed.is("proceed", TLS), "{proceed:?}");
        wire.expect_closed().await;
    } else {
        assert!(matches!(said, Heard::Closed), "{said:?}");
    }
    stage.end().await;
}

#[tokio::test]
async fn nothing_but_the_choice_passes_before_a_link_is_chosen() {
    for host in [PEER, DECIDER] {
        let world = World::with(Set { host, ..Set::default() }).await;
        let mut link = world.host.dial(&world.router).await;
        if host == PEER {
            link.settle().await;
            link.control(&Control::Chosen).await;
        } else {
            link.control(&Control::Go(link.setting.our_host.clone())).await;
        }
        link.wire.expect_error(Condition::PolicyViolation).await;
        world.router.drain().await;
    }
}

/// Stanzas of both directions over `link`, for the first time on it.
async fn carries(world: &World, local: &mut Local, link: &mut Link) {
    link.activate(&world.domain("pessoa.lit"), "saramago.lit").await;
    link.tell(ANA, JOSE, "in").await;
    local.expect("in").await;
    local.tell(JOSE, ANA, "out").await;
    link.expect("out").await;
}

/// The router has the smaller name. It chooses the first that is ready; the other makes it look whether
/// that one is alive, and is closed.
#[tokio::test]
async fn dialling_at_once_ends_with_the_link_that_the_router_chose() {
    let world = World::new().await;
    let mut local = world.attach().await;
    local.tell(JOSE, ANA, "waiting").await;
    let dialled = world.host.accept_tcp().await;
    let (mut theirs, mut ours) = tokio::join!(world.host.let_in(dialled), world.host.dial(&world.router));
    let (mut chosen, mut other) = tokio::select! {
        () = theirs.settle() => (theirs, ours),
        () = ours.settle() => (ours, theirs),
    };
    let pessoa = world.domain("pessoa.lit");
    let question = question_and_ping(&mut chosen).await;
    let router = chosen.show_to(&pessoa, question).await;
    chosen.serve_request(&pessoa, &router).await;
    chosen.expect("waiting").await;
    other.wire.expect_error(Condition::Conflict).await;
    chosen.tell(ANA, JOSE, "in").await;
    local.expect("in").await;
    assert_eq!(world.router.status().await.hosts.len(), 1);
    world.router.drain().await;
}

/// Answers the ping, and gives the question, in whichever order they come.
async fn question_and_ping(link: &mut Link) -> IdentityRequest {
    let mut question = None;
    for _ in 0..2 {
        let element = link.wire.element().await;
        match Control::read(&element) {
            Ok(Control::IdentityRequest(request)) => question = Some(request),
            Ok(other) => panic!("expected a question: {other:?}"),
            Err(_) => {
                link.send(pong(&element)).await;
            }
        }
    }
    question.expect("two pings and no question")
}

/// The peer host has the smaller name: whichever link it chooses is used, and it closes the other.
#[tokio::test]
async fn dialling_at_once_ends_with_the_link_that_the_peer_chose() {
    for chooses_its_own in [true, false] {
        let world = World::decided_by_peer().await;
        let mut local = world.attach().await;
        local.tell(JOSE, ANA, "waiting").await;
        let theirs = world.host.accept().await;
        let ours = world.host.dial(&world.router).await;
        let (mut chosen, mut other) = if chooses_its_own { (ours, theirs) } else { (theirs, ours) };
        chosen.settle().await;
        let conflict = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        other.wire.send(format!("{conflict}</stream:stream>")).await;
        other.wire.expect_end().await;
        chosen.serve(&world.domain("pessoa.lit")).await;
        chosen.expect("waiting").await;
        chosen.tell(ANA, JOSE, "in").await;
        local.expect("in").await;
        world.router.drain().await;
    }
}

#[tokio::test]
async fn a_newcomer_is_closed_while_the_chosen_link_answers() {
    let mut stage = Stage::new().await;
    let mut newcomer = stage.world.host.dial(&stage.world.router).await;
    stage.link.answer_ping().await;
    newcomer.wire.expect_error(Condition::Conflict).await;
    stage.end().await;
}

/// The peer of the chosen link is gone without a word, as behind a firewall that forgot it.
#[tokio::test]
async fn a_newcomer_takes_the_place_of_a_chosen_link_that_is_silent() {
    let mut stage = Stage::new().await;
    let mut newcomer = stage.world.host.dial(&stage.world.router).await;
    newcomer.settle().await;
    carries(&stage.world, &mut stage.local, &mut newcomer).await;
    // Only now is anything read from the old one: the ping that nobody answered, and the end.
    assert_eq!(stage.link.wire.element().await.name(), "iq");
    stage.link.wire.expect_closed().await;
    newcomer.activate(&stage.world.domain("campos.lit"), "blimunda.lit").await;
    stage.link = newcomer;
    stage.end().await;
}

#[tokio::test]
async fn one_link_serves_every_domain_whose_records_name_the_host() {
    let world = World::new().await;
    let mut local = world.attach().await;
    let domains = ["pessoa.lit", "chat.pessoa.lit", "campos.lit", "reis.lit"];
    for domain in domains {
        local.tell(JOSE, &format!("x@{domain}"), domain).await;
    }
    let mut link = world.host.accept().await;
    link.settle().await;
    let mut own: Vec<_> = domains.iter().map(|domain| world.domain(domain)).collect();
    // The questions come in the order of the look-ups' answers, and one behind the other.
    let mut questions = Vec::new();
    for _ in domains {
        questions.push(link.hear_question().await);
    }
    for question in questions {
        let at = own.iter().position(|own| *own.name() == question.domain).unwrap();
        let own = own.swap_remove(at);
        let theirs = link.show_to(&own, question).await;
        link.serve_request(&own, &theirs).await;
        link.expect(own.name().as_str()).await;
    }
    assert!(!world.host.has_been_dialled().await, "a second connection");
    let hosts = world.router.status().await.hosts;
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), [PEER]);
    world.router.drain().await;
}

#[tokio::test]
async fn a_domain_without_a_record_is_not_found() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, "ricardo@ricardo.lit", "out").await;
    stage.local.expect_error("out", "remote-server-not-found").await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_that_offers_no_federation_is_not_found() {
    let mut stage = Stage::new().await;
    stage.world.names.set_srv("ricardo.lit", vec![(0, 0, 0, ".".into())]);
    stage.local.tell(JOSE, "ricardo@ricardo.lit", "out").await;
    stage.local.expect_error("out", "remote-server-not-found").await;
    stage.end().await;
}

/// Its record would lead in a circle.
#[tokio::test]
async fn a_domain_whose_record_names_the_router_is_not_found() {
    let mut stage = Stage::new().await;
    stage.world.names.set_srv("ricardo.lit", vec![(0, 0, 5270, ROUTER.into())]);
    stage.local.tell(JOSE, "ricardo@ricardo.lit", "out").await;
    stage.local.expect_error("out", "remote-server-not-found").await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_whose_policy_is_off_is_neither_looked_up_nor_asked() {
    let world = World::configured("[federation.domains.\"pessoa.lit\"]\npolicy = 'off'").await;
    let mut stage = Stage::on(world).await;
    stage.local.tell(JOSE, ANA, "out").await;
    stage.local.expect_error("out", "remote-server-not-found").await;
    assert_eq!(stage.world.names.questions("_xmpp-federation._tcp.pessoa.lit"), 0);
    stage.end().await;
}

#[tokio::test]
async fn a_look_up_that_fails_is_a_timeout() {
    let mut stage = Stage::new().await;
    stage.world.names.fail("reis.lit");
    stage.local.tell(JOSE, "x@reis.lit", "out").await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

#[tokio::test]
async fn a_look_up_that_is_not_answered_is_a_timeout() {
    let mut stage = Stage::on(World::configured("[limits]\nstanza_wait = '1s'").await).await;
    stage.world.names.silence("reis.lit");
    stage.local.tell(JOSE, "x@reis.lit", "out").await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_is_not_there_is_a_timeout() {
    let mut stage = Stage::on(World::configured("[limits]\nstanza_wait = '1s'").await).await;
    // Nobody is given port 1 by chance.
    stage.world.names.set_srv("ricardo.lit", vec![(0, 0, 1, "xmpp.third.isp".into())]);
    stage.world.names.set_addresses("xmpp.third.isp", vec!["127.0.0.1".parse().unwrap()]);
    stage.local.tell(JOSE, "ricardo@ricardo.lit", "out").await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

/// It accepts the connection and says nothing: as unreachable as one that is not there.
#[tokio::test]
async fn a_host_that_says_nothing_is_a_timeout() {
    let config = "[limits]\nstanza_wait = '1s'\nconnect_timeout = '500ms'";
    let mut stage = Stage::on(World::configured(config).await).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    stage.world.names.set_srv("ricardo.lit", vec![(0, 0, port, "xmpp.third.isp".into())]);
    stage.world.names.set_addresses("xmpp.third.isp", vec!["127.0.0.1".parse().unwrap()]);
    stage.local.tell(JOSE, "ricardo@ricardo.lit", "out").await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

/// Whoever answers at the host's address without its certificate gets no stanza.
#[tokio::test]
async fn a_host_that_cannot_prove_its_name_gets_nothing() {
    let mut stage = Stage::on(World::configured("[limits]\nstanza_wait = '1s'").await).await;
    let issued = stage.world.authority.issue(&Request::new(["xmpp.fourth.isp"], KeyKind::P256)).unwrap();
    let impostor = Host::new("xmpp.third.isp", &issued).await;
    stage.world.names.set_srv("ricardo.lit", vec![(0, 0, impostor.port(), "xmpp.third.isp".into())]);
    stage.world.names.set_addresses("xmpp.third.isp", vec!["127.0.0.1".parse().unwrap()]);
    stage.local.tell(JOSE, "ricardo@ricardo.lit", "out").await;
    let mut wire = impostor.accept_tls().await;
    wire.expect_closed().await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_comes_back_in_time_gets_what_waited() {
    let world = World::configured("[federation]\npolicy = 'require'").await;
    let mut local = world.attach().await;
    local.tell(JOSE, ANA, "out").await;
    drop(world.host.accept_tcp().await);
    let mut link = world.host.accept().await;
    link.settle().await;
    link.serve(&world.domain("pessoa.lit")).await;
    link.expect("out").await;
    world.router.drain().await;
}

/// The connection dies with a pair active: what is sent afterwards goes over another one.
#[tokio::test]
async fn a_connection_that_breaks_is_dialled_again() {
    let Stage { world, mut local, link, pessoa, .. } = Stage::new().await;
    drop(link);
    while !world.router.status().await.hosts.iter().all(|host| host.address.is_none()) {
        tokio::task::yield_now().await;
    }
    local.tell(JOSE, ANA, "out").await;
    let mut link = world.host.accept().await;
    link.settle().await;
    link.serve(&pessoa).await;
    link.expect("out").await;
    world.router.drain().await;
}
