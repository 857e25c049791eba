//! Federation or classic S2S: what the policy of a domain allows, in both directions, and what is done where
//! its host is not to be found or reached.

use heteronym_proto::control::{About, Control};
use heteronym_proto::pairs::PairState;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::status::Via;
use heteronym_proto::stream_error::Condition;
use tokio::net::TcpListener;

use super::ground::{ANA, Ground, JOSE, ROUTER, STARTTLS};
use crate::support::host::{Host, SASL};
use crate::support::server::{EXTERNAL, Server};

const PEER: &str = "xmpp.other.isp";
const RECORD: &str = "_xmpp-federation._tcp.pessoa.lit";

fn policy(of: &str) -> String {
    format!("[federation.domains.\"pessoa.lit\"]\npolicy = '{of}'")
}

/// With a peer host and a classic server for pessoa.lit.
async fn both(more: &str) -> (Ground, Host, Server) {
    let ground = Ground::new(more).await;
    let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
    ground.federate("pessoa.lit", &host);
    (ground, host, server)
}

/// The stanza goes by classic S2S.
async fn goes_by_classic(ground: &mut Ground, server: &Server, id: &str) {
    ground.local.tell(JOSE, ANA, id).await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect(id).await;
    let [pair] = &ground.router.pairs("saramago.lit", "pessoa.lit").await[..] else { panic!("one pair") };
    assert_eq!((pair.via, pair.state), (Via::Classic, PairState::Active));
}

#[tokio::test]
async fn a_domain_with_a_record_goes_over_a_link() {
    for more in [String::new(), policy("require")] {
        let (mut ground, host, server) = both(&more).await;
        ground.local.tell(JOSE, ANA, "out").await;
        let mut link = host.accept().await;
        link.settle().await;
        link.serve(&ground.domain_of("pessoa.lit", &host)).await;
        link.expect("out").await;
        assert!(!server.has_been_dialled().await, "{more}");
        drop(link);
        ground.end().await;
    }
}

#[tokio::test]
async fn where_federation_is_off_a_domain_goes_by_classic_and_is_not_looked_up() {
    for more in [policy("off"), "[federation]\npolicy = 'off'".to_owned()] {
        let (mut ground, host, server) = both(&more).await;
        goes_by_classic(&mut ground, &server, "out").await;
        assert!(!host.has_been_dialled().await);
        assert_eq!(ground.names.questions(RECORD), 0);
        ground.end().await;
    }
}

/// One domain may be an exception from what counts for all.
#[tokio::test]
async fn a_domains_own_policy_counts_before_that_of_all() {
    let (mut ground, host, server) = both(&format!("[federation]\npolicy = 'off'\n{}", policy("prefer"))).await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut link = host.accept().await;
    link.settle().await;
    link.serve(&ground.domain_of("pessoa.lit", &host)).await;
    link.expect("out").await;
    assert!(!server.has_been_dialled().await);
    drop(link);
    ground.end().await;
}

#[tokio::test]
async fn where_federation_is_required_nothing_goes_by_classic() {
    for more in [policy("require"), "[federation]\npolicy = 'require'".to_owned()] {
        let mut ground = Ground::new(&format!("{more}\n[limits]\nstanza_wait = '1s'")).await;
        let server = ground.server("pessoa.lit").await;
        let text = ground.bounced("absent", "remote-server-not-found").await;
        assert!(text.contains("require"), "{text}");
        ground.names.fail(RECORD);
        assert_eq!(ground.reload(&ground.text).0, 200);
        ground.bounced("failed", "remote-server-timeout").await;
        ground.names.recover(RECORD);
        ground.names.set_srv("pessoa.lit", vec![(0, 0, 1, PEER.to_owned())]);
        ground.names.set_addresses(PEER, vec!["127.0.0.1".parse().unwrap()]);
        assert_eq!(ground.reload(&ground.text).0, 200);
        let text = ground.bounced("unreachable", "remote-server-timeout").await;
        assert!(text.contains(PEER), "{text}");
        assert!(!server.has_been_dialled().await);
        ground.end().await;
    }
}

#[tokio::test]
async fn a_look_up_that_fails_leads_to_classic() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.names.fail(RECORD);
    goes_by_classic(&mut ground, &server, "out").await;
    ground.end().await;
}

#[tokio::test]
async fn a_look_up_without_an_answer_leads_to_classic() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.names.silence(RECORD);
    goes_by_classic(&mut ground, &server, "out").await;
    ground.end().await;
}

/// Without classic S2S there is nothing left, and the sender is told why.
#[tokio::test]
async fn without_classic_what_fails_goes_back() {
    let mut ground = Ground::new("[classic]\nenabled = false").await;
    let server = ground.server("pessoa.lit").await;
    ground.names.fail(RECORD);
    let text = ground.bounced("out", "remote-server-timeout").await;
    assert!(text.contains("SERVFAIL") && text.contains("switched off"), "{text}");
    assert!(!server.has_been_dialled().await);
    ground.end().await;
}

/// What a host does that cannot be reached.
#[derive(Clone, Copy, Debug)]
enum Fault {
    NotThere,
    NoAddress,
    HangsUp,
    AnotherName,
    RefusesOurs,
}

/// Fails as `fault` says, once.
async fn fails(ground: &Ground, host: &Host, fault: Fault) {
    match fault {
        Fault::NotThere | Fault::NoAddress => (),
        Fault::HangsUp => drop(host.accept_tcp().await),
        Fault::AnotherName => {
            let mut wire = host.accept_tls().await;
            wire.expect_closed().await;
        }
        Fault::RefusesOurs => {
            let mut wire = host.accept_tls().await;
            wire.header().await;
            let header = host.header(ROUTER).replace(" from=", " id='1' from=");
            let external = format!("<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>");
            wire.send(format!("{header}<stream:features>{external}</stream:features>")).await;
            assert!(wire.element().await.is("auth", SASL));
            wire.send(format!("<failure xmlns='{SASL}'><not-authorized/></failure></stream:stream>")).await;
        }
    }
    assert_eq!(ground.names.questions(RECORD), 1);
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_leads_to_classic() {
    use Fault::{AnotherName, HangsUp, NoAddress, NotThere, RefusesOurs};
    for fault in [NotThere, NoAddress, HangsUp, AnotherName, RefusesOurs] {
        let (mut ground, mut host, server) = both("").await;
        match fault {
            NotThere => ground.names.set_srv("pessoa.lit", vec![(0, 0, 1, PEER.to_owned())]),
            NoAddress => ground.names.remove(PEER),
            AnotherName => host.renew(&ground.issue("xmpp.third.isp")),
            HangsUp | RefusesOurs => (),
        }
        ground.local.tell(JOSE, ANA, "out").await;
        if !matches!(fault, NotThere | NoAddress) {
            fails(&ground, &host, fault).await;
        }
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("out").await;
        drop(stream);
        ground.end().await;
    }
}

/// It takes connections and says nothing: as good as not there, in the time for connecting.
#[tokio::test]
async fn a_host_that_says_nothing_leads_to_classic() {
    let mut ground = Ground::new("[limits]\nconnect_timeout = '500ms'").await;
    let server = ground.server("pessoa.lit").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ground.names.set_srv("pessoa.lit", vec![(0, 0, silent.local_addr().unwrap().port(), PEER.to_owned())]);
    ground.names.set_addresses(PEER, vec!["127.0.0.1".parse().unwrap()]);
    goes_by_classic(&mut ground, &server, "out").await;
    ground.end().await;
}

/// And if there is no classic server either, the sender is told of both.
#[tokio::test]
async fn a_host_and_a_server_that_cannot_be_reached_are_both_named() {
    let mut ground = Ground::new("").await;
    ground.names.set_srv("pessoa.lit", vec![(0, 0, 1, PEER.to_owned())]);
    ground.names.set_addresses(PEER, vec!["127.0.0.1".parse().unwrap()]);
    ground.records("pessoa.lit", &[(STARTTLS, 0, 0, "127.0.0.1:1".parse().unwrap())]);
    let text = ground.bounced("out", "remote-server-timeout").await;
    for words in [PEER, "Connection refused", "s0.pessoa.lit port 1", "classic S2S failed"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    ground.end().await;
}

/// Where the host is there and does not want the pair, that is its word.
#[tokio::test]
async fn a_host_that_refuses_the_pair_never_leads_to_classic() {
    for (refusal, condition) in [
        (Refusal::Policy, "not-allowed"),
        (Refusal::UnknownDomain, "remote-server-not-found"),
        (Refusal::NotDelegated, "not-authorized"),
    ] {
        let (mut ground, host, server) = both("").await;
        ground.local.tell(JOSE, ANA, "out").await;
        let mut link = host.accept().await;
        link.settle().await;
        let question = link.hear_question().await;
        link.refuse(About::Id(question.id), refusal).await;
        ground.local.expect_error("out", condition).await;
        ground.local.tell(JOSE, ANA, "again").await;
        ground.local.expect_error("again", condition).await;
        assert!(!server.has_been_dialled().await, "{refusal:?}");
        drop(link);
        ground.end().await;
    }
}

/// Federation is off for the domain: its host gets the refusal that says so, its server comes in by classic.
#[tokio::test]
async fn where_federation_is_off_a_host_is_refused_and_a_server_let_in() {
    for more in [policy("off"), "[federation]\npolicy = 'off'".to_owned()] {
        let (mut ground, host, server) = both(&more).await;
        let pessoa = ground.domain_of("pessoa.lit", &host);
        let mut link = host.dial(&ground.router).await;
        link.settle().await;
        let theirs = link.meet(&pessoa, "saramago.lit").await;
        let asking = link.asking(&pessoa, &theirs);
        link.control(&Control::Request(asking.request.clone())).await;
        link.expect_refused(&asking.about(), "not-allowed", "policy").await;
        let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
        stream.authenticate("pessoa.lit", "saramago.lit").await;
        stream.tell(ANA, JOSE, "in").await;
        ground.local.expect("in").await;
        drop((link, stream));
        ground.end().await;
    }
}

/// What is preferred is no must: a domain may come either way, whatever its records say.
#[tokio::test]
async fn where_federation_is_preferred_both_are_let_in() {
    let (mut ground, host, server) = both("").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "classic").await;
    ground.local.expect("classic").await;
    let mut link = host.dial(&ground.router).await;
    link.settle().await;
    link.activate(&ground.domain_of("pessoa.lit", &host), "saramago.lit").await;
    link.tell(ANA, JOSE, "federation").await;
    ground.local.expect("federation").await;
    drop((link, stream));
    ground.end().await;
}

/// A server that comes in with both directions is no way out where there is a better one, or none is allowed.
#[tokio::test]
async fn both_directions_open_no_way_out_for_a_domain_with_a_record() {
    let (mut ground, host, server) = both("").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.wire.send("<bidi xmlns='urn:xmpp:bidi'/>").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut link = host.accept().await;
    link.settle().await;
    link.serve(&ground.domain_of("pessoa.lit", &host)).await;
    link.expect("out").await;
    assert!(!server.has_been_dialled().await);
    drop((link, stream));
    ground.end().await;
}

/// pessoa.lit has come in by its certificate, and a reload changes what that is worth.
async fn is_not_heard_after_a_reload(change: impl Fn(&Ground) -> String) {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    let text = change(&ground);
    let answer = ground.reload(&text);
    assert_eq!(answer.0, 200, "{answer:?}");
    stream.tell(ANA, JOSE, "late").await;
    stream.wire.expect_error(Condition::NotAuthorized).await;
    ground.is_quiet().await;
    ground.end().await;
}

/// On no stream, however old: it would speak for one of our own users.
#[tokio::test]
async fn a_domain_that_is_ours_now_is_not_heard_from_outside() {
    is_not_heard_after_a_reload(|ground| {
        ground.issue("pessoa.lit").write(&ground.folder.path().join("certs").join("pessoa.lit")).unwrap();
        ground.text.replace("'chat.saramago.lit']", "'chat.saramago.lit', 'pessoa.lit']")
    })
    .await;
}

#[tokio::test]
async fn a_domain_that_must_not_come_by_classic_any_more_is_not_heard() {
    for more in [policy("require"), "[classic]\nenabled = false".to_owned()] {
        is_not_heard_after_a_reload(|ground| format!("{}{more}\n", ground.text)).await;
    }
}

/// A stream of ours ends, in order, where its domain must not be reached so any more.
#[tokio::test]
async fn a_domain_that_must_not_be_reached_by_classic_any_more_is_not() {
    for more in [policy("require"), "[classic]\nenabled = false".to_owned()] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("out").await;
        assert_eq!(ground.reload(&format!("{}{more}\n", ground.text)).0, 200);
        stream.wire.expect_end().await;
        ground.bounced("late", "remote-server-not-found").await;
        assert!(!server.has_been_dialled().await, "{more}");
        ground.end().await;
    }
}
