//! Two whole routers with traffic both ways, while one of them and then the other is drained and
//! started again: what was accepted is delivered or comes back, and neither twice.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use heteronym::config::Config;
use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use tempfile::TempDir;

use crate::support::local::Local;
use crate::support::router::Running;
use crate::support::stage::SECRET;
use crate::support::wire::Heard;
use crate::support::{message, soon};

/// Domains of each side: each talks to each of the other's.
const DOMAINS: usize = 3;
/// Rounds of one stanza for each pair and direction, in each phase.
const ROUNDS: usize = 50;
/// Between rounds: traffic, not a burst.
const PACE: Duration = Duration::from_millis(2);

/// A router, its component, and what became of the stanzas of either.
struct Side {
    host: &'static str,
    name: &'static str,
    folder: TempDir,
    federation: SocketAddr,
    router: Option<Running>,
    local: Option<Local>,
    /// Ids in the order in which they were sent, in one list for each life of the local link.
    sent: Vec<Vec<String>>,
    delivered: BTreeMap<String, usize>,
    bounced: BTreeMap<String, usize>,
}

impl Side {
    fn new(host: &'static str, name: &'static str, authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let domains: Vec<_> = (0..DOMAINS).map(|n| format!("{name}{n}.lit")).collect();
        for of in domains.iter().map(String::as_str).chain([host]) {
            let issued = authority.issue(&Request::new([of], KeyKind::P256)).unwrap();
            issued.write(&folder.path().join("certs").join(of)).unwrap();
        }
        fs::write(folder.path().join("root.pem"), authority.root_pem()).unwrap();
        let (federation, router, local) = (SocketAddr::from(([127, 0, 0, 1], 0)), None, None);
        let (sent, delivered, bounced) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { host, name, folder, federation, router, local, sent, delivered, bounced }
    }

    fn domain(&self, n: usize) -> String {
        format!("{}{n}.lit", self.name)
    }

    /// Starts the router, on the port that it had, and attaches the component.
    async fn start(&mut self, names: &NameServer) {
        let domains: Vec<_> = (0..DOMAINS).map(|n| self.domain(n)).collect();
        let text = format!(
            "host = {{ name = '{}' }}\n\
             tls = {{ roots = ['root.pem'] }}\n\
             dns = {{ servers = ['{}'] }}\n\
             [listen]\n\
             federation = ['{}']\n\
             component = ['127.0.0.1:0']\n\
             s2s = []\n\
             local_s2s = []\n\
             admin = ['127.0.0.1:0']\n\
             [[local]]\n\
             name = 'one'\n\
             domains = {domains:?}\n\
             attach = {{ kind = 'component', secret = '{SECRET}' }}\n",
            self.host,
            names.address(),
            self.federation
        );
        let router = Running::start(Config::parse(&text, self.folder.path()).unwrap());
        self.federation = router.federation;
        for domain in &domains {
            names.set_srv(domain, vec![(0, 0, self.federation.port(), self.host.to_owned())]);
        }
        self.local = Some(Local::attach(router.component, &domains[0], SECRET).await);
        self.router = Some(router);
        self.sent.push(Vec::new());
    }

    /// One stanza for each pair, if there is a router to take it.
    async fn send_round(&mut self, to: &str) {
        let Some(local) = &mut self.local else { return };
        for (from, other) in (0..DOMAINS).flat_map(|from| (0..DOMAINS).map(move |other| (from, other))) {
            let (life, n) = (self.sent.len(), self.sent.last().map_or(0, Vec::len));
            let id = format!("{}{from}-{to}{other}-{life}-{n}", self.name);
            let stanza = message(&format!("u@{}{from}.lit/r", self.name), &format!("v@{to}{other}.lit"), &id);
            if local.wire.try_send(stanza).await.is_ok() {
                self.sent.last_mut().unwrap().push(id);
            }
        }
    }

    /// Notes the next stanza; false where the stream has ended.
    async fn note(&mut self) -> bool {
        let Some(local) = &mut self.local else { return false };
        let element = match local.wire.hear().await {
            Heard::Element(element) => element,
            Heard::End | Heard::Closed => {
                self.local = None;
                return false;
            }
            Heard::Header(header) => panic!("a header: {header:?}"),
        };
        let outcomes = if element.attr("type") == Some("error") { &mut self.bounced } else { &mut self.delivered };
        *outcomes.entry(element.attr("id").unwrap().to_owned()).or_default() += 1;
        true
    }

    /// Notes whatever comes until nothing has come for the pace of a round.
    async fn note_what_is_there(&mut self) {
        while let Ok(true) = tokio::time::timeout(PACE, self.note()).await {}
    }
}

async fn talk(one: &mut Side, other: &mut Side, rounds: usize) {
    for _ in 0..rounds {
        one.send_round(other.name).await;
        other.send_round(one.name).await;
        one.note_what_is_there().await;
        other.note_what_is_there().await;
    }
}

/// Drains `one` while both talk, and starts it again.
async fn restart(one: &mut Side, other: &mut Side, names: &NameServer) {
    talk(one, other, ROUNDS).await;
    let draining = one.router.take().unwrap().begin_drain();
    while one.local.is_some() {
        one.send_round(other.name).await;
        other.send_round(one.name).await;
        one.note_what_is_there().await;
        other.note_what_is_there().await;
    }
    draining.ended().await;
    one.start(names).await;
    talk(one, other, ROUNDS).await;
}

/// What `from` sent has one outcome each; without any are only the last of a stream that ended: its
/// component cannot know what was read of it.
fn check(from: &Side, to: &Side) {
    for sent in &from.sent {
        let count = |outcomes: &BTreeMap<String, usize>, id| outcomes.get(id).copied().unwrap_or(0);
        let outcomes: Vec<_> = sent.iter().map(|id| (count(&to.delivered, id), count(&from.bounced, id))).collect();
        let known = outcomes.iter().rposition(|outcome| *outcome != (0, 0)).map_or(0, |last| last + 1);
        let wrong: Vec<_> = sent.iter().zip(&outcomes).take(known).filter(|(_, (a, b))| a + b != 1).collect();
        assert!(wrong.is_empty(), "{} of {known} without one outcome: {:?}", wrong.len(), &wrong[..wrong.len().min(9)]);
    }
}

fn is_settled(from: &Side, to: &Side) -> bool {
    from.sent.last().unwrap().iter().all(|id| to.delivered.contains_key(id) || from.bounced.contains_key(id))
}

#[tokio::test]
async fn nothing_accepted_is_lost_or_doubled_while_a_router_restarts() {
    let authority = Authority::new("Everybody's").unwrap();
    let mut zone = Zone::new();
    for host in ["xmpp.my.isp", "xmpp.other.isp"] {
        zone.set_addresses(host, vec!["127.0.0.1".parse().unwrap()]);
    }
    let names = NameServer::start(zone).unwrap();
    let mut mine = Side::new("xmpp.my.isp", "mine", &authority);
    let mut other = Side::new("xmpp.other.isp", "other", &authority);
    mine.start(&names).await;
    other.start(&names).await;
    restart(&mut mine, &mut other, &names).await;
    restart(&mut other, &mut mine, &names).await;
    let settled = async {
        while !(is_settled(&mine, &other) && is_settled(&other, &mine)) {
            mine.note_what_is_there().await;
            other.note_what_is_there().await;
        }
    };
    soon("an outcome for each stanza", settled).await;
    check(&mine, &other);
    check(&other, &mine);
    for side in [mine, other] {
        drop(side.local);
        side.router.unwrap().drain().await;
    }
}
