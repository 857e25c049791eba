//! Classic S2S: two routers whose domains have no federation record, and reach each other as servers do;
//! and, in the rooms below, a router and servers by hand.

mod acks;
mod bounds;
mod dialback;
mod failures;
pub(crate) mod ground;
mod inbound;
mod moving;
mod operators;
mod outbound;
mod pins;
mod policies;
mod records;
mod sharing;
mod strangers;

use std::fs;

use heteronym::config::Config;
use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use heteronym_proto::pairs::PairState;
use heteronym_proto::status::Via;
use tempfile::TempDir;

use crate::support::local::Local;
use crate::support::router::Running;

const SECRET: &str = "s3cret";
const ANA: &str = "ana@pessoa.lit";
const JOSE: &str = "jose@saramago.lit";

/// A router with a component behind it.
struct Side {
    router: Running,
    local: Local,
    _folder: TempDir,
}

/// What a side trusts and shows, and what is in its configuration besides.
struct Setting<'a> {
    shown: &'a Authority,
    trusts: &'a Authority,
    more: &'a str,
}

impl Side {
    async fn start(host: &str, domains: &[&str], names: &NameServer, setting: &Setting<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in domains.iter().chain([&host]) {
            let issued = setting.shown.issue(&Request::new([*name], KeyKind::P256)).unwrap();
            issued.write(&folder.path().join("certs").join(name)).unwrap();
        }
        fs::write(folder.path().join("root.pem"), setting.trusts.root_pem()).unwrap();
        let list = domains.iter().map(|domain| format!("'{domain}'")).collect::<Vec<_>>().join(", ");
        let (servers, more) = (names.address(), setting.more);
        let text = format!(
            "host = {{ name = '{host}' }}\n\
             tls = {{ roots = ['root.pem'] }}\n\
             dns = {{ servers = ['{servers}'] }}\n\
             [listen]\n\
             federation = ['127.0.0.1:0']\n\
             s2s = ['127.0.0.1:0']\n\
             component = ['127.0.0.1:0']\n\
             local_s2s = []\n\
             admin = ['127.0.0.1:0']\n\
             [[local]]\n\
             name = 'one'\n\
             domains = [{list}]\n\
             attach = {{ kind = 'component', secret = '{SECRET}' }}\n\
             {more}\n"
        );
        let router = Running::start(Config::parse(&text, folder.path()).unwrap());
        let local = Local::attach(router.component, domains[0], SECRET).await;
        for domain in domains {
            let port = router.s2s.unwrap().port();
            names.set_service("_xmpp-server._tcp", domain, vec![(0, 0, port, format!("s2s.{domain}"))]);
            names.set_addresses(&format!("s2s.{domain}"), vec!["127.0.0.1".parse().unwrap()]);
        }
        Self { router, local, _folder: folder }
    }

    async fn end(mut self) {
        let draining = self.router.begin_drain();
        self.local.wire.expect_end().await;
        draining.ended().await;
    }
}

/// saramago.lit and chat.saramago.lit here, pessoa.lit and campos.lit there.
struct Two {
    here: Side,
    there: Side,
    _names: NameServer,
}

impl Two {
    async fn start(here: &Setting<'_>, there: &Setting<'_>) -> Self {
        let names = NameServer::start(Zone::new()).unwrap();
        let here = Side::start("xmpp.my.isp", &["saramago.lit", "chat.saramago.lit"], &names, here).await;
        let there = Side::start("xmpp.other.isp", &["pessoa.lit", "campos.lit"], &names, there).await;
        Self { here, there, _names: names }
    }

    /// Both trust one authority: certificates prove everybody.
    async fn certified() -> Self {
        let authority = Authority::new("Everybody's").unwrap();
        let setting = Setting { shown: &authority, trusts: &authority, more: "" };
        Self::start(&setting, &setting).await
    }

    /// Neither knows the other's authority.
    async fn strangers(more: &str) -> Self {
        let (ours, theirs) = (Authority::new("Ours").unwrap(), Authority::new("Theirs").unwrap());
        let here = Setting { shown: &ours, trusts: &ours, more };
        let there = Setting { shown: &theirs, trusts: &theirs, more };
        Self::start(&here, &there).await
    }

    async fn talk(&mut self) {
        self.here.local.tell(JOSE, ANA, "there").await;
        self.there.local.expect("there").await;
        self.there.local.tell(ANA, JOSE, "back").await;
        self.here.local.expect("back").await;
    }

    async fn end(self) {
        self.here.end().await;
        self.there.end().await;
    }
}

#[tokio::test]
async fn certificates_prove_both_servers() {
    let mut two = Two::certified().await;
    two.talk().await;
    let [pair] = &two.here.router.pairs("saramago.lit", "pessoa.lit").await[..] else { panic!("one pair") };
    assert_eq!((pair.via, pair.state), (Via::Classic, PairState::Active));
    two.end().await;
}

#[tokio::test]
async fn dialback_proves_both_servers_where_certificates_do_not() {
    let mut two = Two::strangers("").await;
    two.talk().await;
    two.end().await;
}

#[tokio::test]
async fn without_dialback_strangers_stay_strangers() {
    let mut two = Two::strangers("[classic]\ndialback = false").await;
    two.here.local.tell(JOSE, ANA, "m1").await;
    two.here.local.expect_error("m1", "remote-server-timeout").await;
    two.end().await;
}

#[tokio::test]
async fn further_domains_of_ours_use_the_stream_there_is() {
    for mut two in [Two::certified().await, Two::strangers("").await] {
        two.talk().await;
        two.here.local.tell("rui@chat.saramago.lit", ANA, "second").await;
        two.there.local.expect("second").await;
        two.there.local.tell(ANA, "rui@chat.saramago.lit", "second-back").await;
        two.here.local.expect("second-back").await;
        two.end().await;
    }
}

#[tokio::test]
async fn stanzas_arrive_in_their_order() {
    let mut two = Two::strangers("").await;
    for n in 0..50 {
        two.here.local.tell(JOSE, ANA, &format!("{n}")).await;
    }
    for n in 0..50 {
        two.there.local.expect(&format!("{n}")).await;
    }
    two.end().await;
}

#[tokio::test]
async fn a_domain_that_is_nowhere_is_not_found() {
    let mut two = Two::certified().await;
    two.here.local.tell(JOSE, "ricardo@ricardo.lit", "m1").await;
    two.here.local.expect_error("m1", "remote-server-not-found").await;
    two.talk().await;
    two.end().await;
}

#[tokio::test]
async fn classic_can_be_switched_off() {
    let mut two = Two::strangers("[classic]\nenabled = false").await;
    two.here.local.tell(JOSE, ANA, "m1").await;
    two.here.local.expect_error("m1", "remote-server-not-found").await;
    two.end().await;
}
