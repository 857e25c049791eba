//! Every kind of key and certificate, of hosts and of domains, in both roles (protocol §4).

use std::collections::HashMap;

use heteronym::demo::authority::{Authority, ExtendedKeyUsage, Issued, KeyKind, KeyUsage, Request};
use heteronym_net::clock::Now;
use heteronym_proto::control::{About, Control, DeactivateReason, IdentityRequest};
use heteronym_proto::identity::PeerIdentity;
use heteronym_proto::name::Name;
use heteronym_proto::stream_error::Condition;

use crate::support::activation::question;
use crate::support::domain::Domain;
use crate::support::host::Host;
use crate::support::keys::{Side, key};
use crate::support::link::Link;
use crate::support::local::Local;
use crate::support::name;
use crate::support::stage::{PEER, ROUTER, SECRET, Set, Stage, World};

const JOSE: &str = "jose@saramago.lit/x";
const KINDS: [KeyKind; 6] =
    [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::Rsa4096, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];

/// One certificate of each kind of key; of RSA keys, one that may be encrypted to and one that may not.
fn suites(domain: &str) -> Vec<Request> {
    let signs = KINDS.map(|kind| Request::new([domain], kind));
    let encrypts = KINDS[..3]
        .iter()
        .map(|kind| Request { key_usage: KeyUsage::SignatureAndEncipherment, ..Request::new([domain], *kind) });
    signs.into_iter().chain(encrypts).collect()
}

/// An entry with these domains, whose certificates are to be written as well.
fn entry(domains: &[String]) -> String {
    format!("[[local]]\nname = 'three'\ndomains = {domains:?}\nattach = {{ kind = 'component', secret = '{SECRET}' }}")
}

fn message(from: &str, to: &str, id: &str) -> (String, String, String) {
    (format!("a@{from}"), format!("b@{to}"), id.to_owned())
}

/// Answers what the router asks for the pair of `own`: it asks for an identity that it does not know yet.
async fn serve(link: &mut Link, own: &Domain, known: &mut HashMap<Name, PeerIdentity>) {
    let request = match link.hear_control().await {
        Control::IdentityRequest(question) => {
            let theirs = link.show_to(own, question).await;
            known.insert(theirs.domain.clone(), theirs);
            link.hear_request().await
        }
        Control::Request(request) => request,
        other => panic!("expected a question or a request: {other:?}"),
    };
    let theirs = known[&request.initiator].clone();
    link.answer(own, &theirs, request).await;
}

#[tokio::test]
async fn every_kind_of_key_is_proved_to_every_other_in_both_roles() {
    let count = suites("x").len();
    let ours: Vec<String> = (0..count).map(|n| format!("d{n}.saramago.lit")).collect();
    let certificates = ours.iter().enumerate().map(|(n, domain)| (domain.clone(), suites(domain).swap_remove(n)));
    let set = Set { config: entry(&ours), certificates: certificates.collect(), ..Set::default() };
    let world = World::with(set).await;
    let mut local = Local::attach(world.router.component, &ours[0], SECRET).await;
    let mut link = world.host.dial(&world.router).await;
    link.settle().await;
    let (mut known, mut tests) = (HashMap::new(), 0);
    for n in 0..count {
        // One that asks, and one that is asked.
        let theirs = ["asks", "serves"].map(|role| {
            let domain = format!("{role}{n}.pessoa.lit");
            world.names.set_srv(&domain, vec![(0, 0, world.host.port(), PEER.to_owned())]);
            let domain = world.domain_with(&domain, &suites(&domain).swap_remove(n));
            assert_eq!(domain.own.suite.uses_kem(), n < 6, "{n}");
            domain
        });
        for ours in &ours {
            link.activate(&theirs[0], ours).await;
            let (from, to, id) = message(theirs[0].name().as_str(), ours, &format!("in-{tests}"));
            link.tell(&from, &to, &id).await;
            local.expect(&id).await;
            let (from, to, id) = message(ours, theirs[1].name().as_str(), &format!("out-{tests}"));
            local.tell(&from, &to, &id).await;
            serve(&mut link, &theirs[1], &mut known).await;
            link.expect(&id).await;
            tests += 1;
        }
    }
    assert_eq!(tests, 81);
    world.router.drain().await;
}

#[tokio::test]
async fn hosts_of_every_kind_of_key_find_each_other_whoever_dials() {
    for ours in KINDS {
        let world = World::with(Set { own: Request::new([ROUTER], ours), ..Set::default() }).await;
        let mut local = world.attach().await;
        for (n, theirs) in KINDS.into_iter().enumerate() {
            let dials = host(&world, &format!("xmpp.other{n}.isp"), theirs).await;
            dials.dial(&world.router).await.settle().await;
            let dialled = host(&world, &format!("xmpp.third{n}.isp"), theirs).await;
            let domain = format!("d{n}.lit");
            world.names.set_srv(&domain, vec![(0, 0, dialled.port(), dialled.name.to_string())]);
            local.tell(JOSE, &format!("x@{domain}"), "out").await;
            dialled.accept().await.settle().await;
        }
        world.router.drain().await;
    }
}

async fn host(world: &World, called: &str, kind: KeyKind) -> Host {
    let issued = world.authority.issue_with(&Request::new([called], kind), &key(kind, Side::Peer)).unwrap();
    listening(world, called, &issued).await
}

async fn listening(world: &World, called: &str, issued: &Issued) -> Host {
    world.names.set_addresses(called, vec!["127.0.0.1".parse().unwrap()]);
    Host::new(called, issued).await
}

/// What is wrong with a certificate for `subject`, and how an operator is told.
fn faults(authority: &Authority, subject: &str) -> Vec<(Issued, &'static str)> {
    let (now, good) = (Now::read().unix, Request::new([subject], KeyKind::P256));
    let issue = |request: &Request| authority.issue(request).unwrap();
    let alone = |issued: Issued| {
        let end = issued.chain_pem.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
        let chain_pem = issued.chain_pem[..end].to_owned();
        Issued { chain_pem, ..issued }
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let self_signed = rcgen::CertificateParams::new(vec![subject.to_owned()]).unwrap().self_signed(&key).unwrap();
    let expired = Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..good.clone() };
    let client = Request { extended: ExtendedKeyUsage::ClientAuth, ..good.clone() };
    let below = format!("*.below.{subject}");
    let unknown = Authority::new("Unknown").unwrap();
    vec![
        (issue(&expired), "certificate expired at 20"),
        (issue(&Request { not_before: Some(now + 3600), ..good.clone() }), "certificate not valid before 20"),
        (issue(&client), "extended key usage without serverAuth"),
        (issue(&Request { names: vec!["eca.lit".to_owned()], ..good.clone() }), "certificate is for eca.lit; not for"),
        (issue(&Request { names: vec![below], ..good.clone() }), "certificate is for *.below."),
        (unknown.issue(&good).unwrap(), "signed by CN=Unknown, which leads to no trusted root"),
        (alone(issue(&good)), "the intermediate certificate is missing (fullchain.pem)"),
        (Issued { chain_pem: self_signed.pem(), key_pem: key.serialize_pem() }, "certificate is signed by itself"),
    ]
}

#[tokio::test]
async fn a_host_whose_certificate_is_not_right_is_not_let_in() {
    let stage = Stage::new().await;
    for (issued, _) in faults(&stage.world.authority, PEER) {
        Host::new(PEER, &issued).await.expect_not_let_in(&stage.world.router).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_dialled_host_whose_certificate_is_not_right_gets_nothing_and_the_operator_is_told() {
    let mut stage = Stage::on(World::configured("[limits]\nstanza_wait = '1s'").await).await;
    for n in 0..faults(&stage.world.authority, "x").len() {
        let (called, domain) = (format!("xmpp.third{n}.isp"), format!("d{n}.lit"));
        let (issued, why) = faults(&stage.world.authority, &called).swap_remove(n);
        let impostor = listening(&stage.world, &called, &issued).await;
        stage.world.names.set_srv(&domain, vec![(0, 0, impostor.port(), called.clone())]);
        stage.local.tell(JOSE, &format!("x@{domain}"), "out").await;
        impostor.accept_tls().await.expect_closed().await;
        stage.local.expect_error("out", "remote-server-timeout").await;
        let hosts = stage.world.router.status().await.hosts;
        let told = hosts.into_iter().find(|host| host.name == called).and_then(|host| host.last_error);
        assert!(told.as_ref().is_some_and(|told| told.contains(why)), "{why}: {told:?}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_domain_whose_certificate_is_not_right_is_untrusted_when_it_asks() {
    let mut stage = Stage::new().await;
    for (issued, why) in faults(&stage.world.authority, "pessoa.lit") {
        let pessoa = Domain::new(name("pessoa.lit"), name(PEER), &issued);
        let theirs = stage.link.meet(&pessoa, "saramago.lit").await;
        let asking = stage.link.asking(&pessoa, &theirs);
        stage.link.control(&Control::Request(asking.request.clone())).await;
        let refused = stage.link.wire.element().await;
        assert!(refused.child("untrusted-certificate", "urn:xmpp:federation:0").is_some(), "{why}: {refused:?}");
    }
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_whose_certificate_is_not_right_is_not_asked_and_the_operator_is_told() {
    let mut stage = Stage::new().await;
    for n in 0..faults(&stage.world.authority, "x").len() {
        let domain = format!("d{n}.lit");
        let (issued, why) = faults(&stage.world.authority, &domain).swap_remove(n);
        stage.world.names.set_srv(&domain, vec![(0, 0, stage.world.host.port(), PEER.to_owned())]);
        stage.local.tell(JOSE, &format!("x@{domain}"), "out").await;
        stage.link.show(&Domain::new(name(&domain), name(PEER), &issued)).await;
        stage.local.expect_error("out", "not-authorized").await;
        expect_told(&stage.world, "saramago.lit", &domain, why).await;
    }
    stage.end().await;
}

/// Six certificates of 16 KiB are as much as anybody looks at.
#[tokio::test]
async fn a_chain_that_is_too_long_or_too_large_is_malformed() {
    let mut stage = Stage::new().await;
    let mut long = stage.world.domain("pessoa.lit");
    long.own.identity.chain.resize(7, vec![0x30]);
    let mut large = stage.world.domain("pessoa.lit");
    large.own.identity.chain.push(vec![0x30; 16 * 1024 + 1]);
    for domain in [long, large] {
        stage.link.control(&question("q", &domain, "saramago.lit")).await;
        stage.link.expect_refused(&About::Id("q".to_owned()), "bad-request", "malformed").await;
    }
    let mut longest = stage.world.domain("pessoa.lit");
    longest.own.identity.chain.resize_with(6, || vec![0x30; 1024]);
    stage.link.activate(&longest, "saramago.lit").await;
    stage.end().await;
}

async fn expect_told(world: &World, local: &str, remote: &str, why: &str) {
    let pairs = world.router.pairs(local, remote).await;
    let told = pairs.first().and_then(|pair| pair.last_error.clone());
    assert!(told.as_ref().is_some_and(|told| told.contains(why)), "{why}: {told:?}");
}

/// A wildcard stands for one label, an RSA key that nobody may encrypt to is used with a KEM key, and
/// who has no extended key usage may be a server.
#[tokio::test]
async fn unusual_certificates_that_are_right_are_trusted() {
    let mut stage = Stage::new().await;
    let domain = "chat.pessoa.lit";
    let good = Request::new([domain], KeyKind::P256);
    for request in [
        Request { names: vec!["*.pessoa.lit".to_owned()], ..good.clone() },
        Request { extended: ExtendedKeyUsage::Absent, ..good.clone() },
        Request { extended: ExtendedKeyUsage::ServerAndClientAuth, ..good.clone() },
        Request { key_usage: KeyUsage::Absent, ..good.clone() },
        Request { key_usage: KeyUsage::Absent, ..Request::new([domain], KeyKind::Rsa2048) },
        Request { names: Vec::new(), xmpp_addresses: vec![domain.to_owned()], ..good },
    ] {
        let chat = stage.world.domain_with(domain, &request);
        stage.link.activate(&chat, "saramago.lit").await;
    }
    stage.end().await;
}

/// The private authority of the test vouches for them; a domain needs no other name than XMPP's own.
#[tokio::test]
async fn hosts_and_domains_with_xmpps_own_names_only_federate() {
    let by_xmpp_name = |name: &str| Request {
        xmpp_addresses: vec![name.to_owned()],
        ..Request::new(Vec::<String>::new(), KeyKind::P256)
    };
    let certificates = vec![("saramago.lit".to_owned(), by_xmpp_name("saramago.lit"))];
    let mut stage = Stage::on(World::with(Set { certificates, ..Set::default() }).await).await;
    let pessoa = stage.world.domain_with("pessoa.lit", &by_xmpp_name("pessoa.lit"));
    stage.link.activate(&pessoa, "saramago.lit").await;
    let issued = stage.world.authority.issue(&by_xmpp_name("xmpp.third.isp")).unwrap();
    Host::new("xmpp.third.isp", &issued).await.dial(&stage.world.router).await.settle().await;
    stage.end().await;
}

/// Certificates, DNS and control elements have A-labels; users see the spelling that users wrote.
#[tokio::test]
async fn names_beyond_ascii_are_federated_in_their_own_spelling() {
    let (ours, theirs) = ("bücher.example", "straße.example");
    let (ours_in_ascii, theirs_in_ascii) = ("xn--bcher-kva.example", "xn--strae-oqa.example");
    let certificates = vec![(ours_in_ascii.to_owned(), Request::new([ours_in_ascii], KeyKind::P256))];
    let set = Set { config: entry(&[ours.to_owned()]), certificates, ..Set::default() };
    let mut stage = Stage::on(World::with(set).await).await;
    let mut local = Local::attach(stage.world.router.component, ours, SECRET).await;
    stage.world.names.set_srv(theirs_in_ascii, vec![(0, 0, stage.world.host.port(), PEER.to_owned())]);
    let domain = stage.world.domain_with(theirs, &Request::new([theirs_in_ascii], KeyKind::P256));
    let (autor, ana) = (format!("autor@{ours}/büro"), format!("ana@{theirs}"));
    local.tell(&autor, &ana, "out").await;
    stage.link.serve(&domain).await;
    let out = stage.link.stanza().await;
    assert_eq!((out.attr("from"), out.attr("to")), (Some(autor.as_str()), Some(ana.as_str())));
    stage.link.tell(&ana, &autor, "in").await;
    let back = local.wire.element().await;
    assert_eq!((back.attr("from"), back.attr("to")), (Some(ana.as_str()), Some(autor.as_str())));
    assert_eq!(stage.world.router.pairs(ours_in_ascii, theirs_in_ascii).await.len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_domain_of_the_routers_own_whose_certificate_is_not_right_is_refused_and_said_so() {
    let (now, good) = (Now::read().unix, Request::new(["saramago.lit"], KeyKind::P256));
    let cases = [
        (Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..good.clone() }, "is valid from"),
        (Request { not_before: Some(now + 3600), ..good.clone() }, "is valid from"),
        (Request { names: vec!["eca.lit".to_owned()], ..good.clone() }, "is for eca.lit, not for saramago.lit"),
        (Request { key_usage: KeyUsage::Encipherment, ..good }, "keyUsage without digitalSignature"),
    ];
    for (request, why) in cases {
        let certificates = vec![("saramago.lit".to_owned(), request)];
        let mut stage = Stage::on(World::with(Set { certificates, ..Set::default() }).await).await;
        stage.local.tell(JOSE, "ana@pessoa.lit", "out").await;
        stage.local.expect_error("out", "internal-server-error").await;
        expect_told(&stage.world, "saramago.lit", "pessoa.lit", why).await;
        stage.link.control(&question("q", &stage.pessoa, "saramago.lit")).await;
        stage.link.expect_refused(&About::Id("q".to_owned()), "item-not-found", "unknown-domain").await;
        stage.end().await;
    }
}

/// Each question used to find another KEM key then, and no request named the current one.
#[tokio::test]
async fn a_certificate_that_ends_within_the_hour_still_serves() {
    let soon = Request { not_after: Some(Now::read().unix + 3600), ..Request::new(["x"], KeyKind::P256) };
    let stage = Stage::on(World::with(Set { keys: soon, ..Set::default() }).await).await;
    stage.end().await;
}

/// Waits for the end of an activation; a question that the router asks before it, as it wants to renew.
async fn expect_expired(link: &mut Link) -> Option<IdentityRequest> {
    let mut asked = None;
    loop {
        match link.hear_control().await {
            Control::Deactivate { reason: DeactivateReason::Expired, .. } => return asked,
            Control::IdentityRequest(question) => asked = Some(question),
            other => panic!("expected the end of the activation: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_end_of_a_peers_certificate_ends_its_pair() {
    let mut stage = Stage::new().await;
    let not_after = Some(Now::read().unix + 8);
    let request = Request { not_after, ..Request::new(["pessoa.lit"], KeyKind::P256) };
    let pessoa = stage.world.domain_with("pessoa.lit", &request);
    stage.link.activate(&pessoa, "saramago.lit").await;
    stage.local.tell(JOSE, "ana@pessoa.lit", "in-time").await;
    stage.link.expect("in-time").await;
    let asked = expect_expired(&mut stage.link).await;
    stage.local.tell(JOSE, "ana@pessoa.lit", "too-late").await;
    // The peer shows what it has, and the router believes it no longer.
    let question = match asked {
        Some(question) => question,
        None => stage.link.hear_question().await,
    };
    stage.link.show_to(&pessoa, question).await;
    stage.local.expect_error("too-late", "not-authorized").await;
    expect_told(&stage.world, "saramago.lit", "pessoa.lit", "certificate expired at 20").await;
    stage.end().await;
}

#[tokio::test]
async fn the_end_of_an_own_certificate_ends_its_pairs_and_bounces_what_comes_later() {
    let not_after = Some(Now::read().unix + 15);
    let certificates =
        vec![("saramago.lit".to_owned(), Request { not_after, ..Request::new(["saramago.lit"], KeyKind::P256) })];
    let mut stage = Stage::on(World::with(Set { certificates, ..Set::default() }).await).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.local.tell(JOSE, "ana@pessoa.lit", "in-time").await;
    stage.link.expect("in-time").await;
    expect_expired(&mut stage.link).await;
    stage.local.tell(JOSE, "x@reis.lit", "too-late").await;
    stage.local.expect_error("too-late", "internal-server-error").await;
    expect_told(&stage.world, "saramago.lit", "reis.lit", "the certificate of saramago.lit is valid from").await;
    stage.end().await;
}

/// RFC 6120 §13.7.2.3, whoever dialled. What waits goes over the next link.
#[tokio::test]
async fn the_end_of_a_hosts_certificate_ends_its_link() {
    let mut stage = Stage::new().await;
    let not_after = Some(Now::read().unix + 6);
    let issue = |called, not_after| {
        let request = Request { not_after, ..Request::new([called], KeyKind::P256) };
        stage.world.authority.issue(&request).unwrap()
    };
    let (third, tenth) = ("xmpp.third.isp", "xmpp.tenth.isp");
    let dialling = Host::new(third, &issue(third, not_after)).await;
    let mut dialled = Host::new(tenth, &issue(tenth, not_after)).await;
    let renewed = issue(tenth, None);
    stage.world.names.set_addresses(tenth, vec!["127.0.0.1".parse().unwrap()]);
    stage.world.names.set_srv("tenth.lit", vec![(0, 0, dialled.port(), tenth.to_owned())]);
    let mut theirs = dialling.dial(&stage.world.router).await;
    theirs.settle().await;
    stage.local.tell(JOSE, "ana@tenth.lit", "out").await;
    let mut ours = dialled.accept().await;
    ours.settle().await;
    ours.hear_question().await;
    dialled.renew(&renewed);
    theirs.wire.expect_error(Condition::Reset).await;
    ours.wire.expect_error(Condition::Reset).await;
    let mut again = dialled.accept().await;
    again.settle().await;
    again.serve(&stage.world.domain_of("tenth.lit", &dialled)).await;
    again.expect("out").await;
    drop(again);
    stage.end().await;
}
