//! What an operator does with a router that runs: looks at its numbers, reloads it, opens and ends pairs.

use std::collections::BTreeMap;
use std::fs;

use heteronym::demo::authority::{KeyKind, Request};
use heteronym_proto::control::{Control, DeactivateReason};
use heteronym_proto::pairs::PairState;
use serde_json::json;

use crate::support::http::{get, get_json, post};
use crate::support::local::Local;
use crate::support::stage::{PEER, SECRET, Stage, World};
use crate::support::{DEADLINE, name};

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";

/// The samples of Prometheus's text format by name and labels, and the types by name.
struct Scrape {
    samples: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    /// Parses every line: what is no line of the format fails.
    fn of(text: &str) -> Self {
        let mut scrape = Self { samples: BTreeMap::new(), types: BTreeMap::new() };
        for line in text.lines() {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                assert!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(scrape.samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
            }
        }
        for sample in scrape.samples.keys() {
            let bare = sample.split('{').next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
            let typed = [Some(bare), of_histogram].into_iter().flatten().any(|name| scrape.types.contains_key(name));
            assert!(typed, "{sample} has no type");
        }
        scrape
    }

    fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("{sample} is not in {:#?}", self.samples))
    }
}

async fn scrape(world: &World) -> Scrape {
    let (code, text) = get(world.router.admin, "/metrics", None);
    assert_eq!(code, 200);
    for remote in ["pessoa.lit", "campos.lit", PEER] {
        assert!(!text.contains(remote), "a label with the name of {remote}");
    }
    Scrape::of(&text)
}

/// Every name of the contract with its type, and what has moved after traffic both ways and a refusal.
#[tokio::test]
async fn the_metrics_move_with_what_happens() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.expect("out").await;
    stage.local.tell(JOSE, "ana@nowhere.lit", "back").await;
    stage.local.expect_error("back", "remote-server-not-found").await;
    stage.local.tell(JOSE, "room@chat.saramago.lit", "inside").await;
    stage.local.expect("inside").await;
    stage.talk().await;
    let scrape = scrape(&stage.world).await;
    let counters = [
        "stanzas",
        "stanza_bytes",
        "stanza_errors",
        "activations",
        "resumed_pairs",
        "panics",
        "dns_lookups",
        "steering_questions",
        "tls_handshakes",
    ];
    for counter in counters {
        assert_eq!(
            scrape.types.get(&format!("heteronym_{counter}_total")).map(String::as_str),
            Some("counter"),
            "{counter}"
        );
    }
    let gauges = [
        "host_connections",
        "pairs",
        "queue_bytes",
        "unacknowledged_stanzas",
        "certificate_expiry_seconds",
        "local_links",
    ];
    for gauge in gauges {
        assert_eq!(scrape.types.get(&format!("heteronym_{gauge}")).map(String::as_str), Some("gauge"), "{gauge}");
    }
    assert_eq!(scrape.types["heteronym_activation_seconds"], "histogram");
    assert!(scrape.value("process_resident_memory_bytes") > 0.0);
    // The bystanders talked twice, both ways.
    let exact = [
        ("heteronym_stanzas_total{direction=\"out\",kind=\"message\"}", 3.0),
        ("heteronym_stanzas_total{direction=\"in\",kind=\"message\"}", 2.0),
        ("heteronym_stanzas_total{direction=\"local\",kind=\"message\"}", 1.0),
        ("heteronym_stanzas_total{direction=\"out\",kind=\"iq\"}", 0.0),
        ("heteronym_stanza_errors_total{condition=\"remote-server-not-found\",reason=\"classic\"}", 1.0),
        ("heteronym_activations_total{result=\"active\",role=\"responder\"}", 2.0),
        ("heteronym_activation_seconds_count", 2.0),
        ("heteronym_activation_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("heteronym_tls_handshakes_total{result=\"ok\",role=\"server\"}", 1.0),
        ("heteronym_dns_lookups_total{result=\"absent\",type=\"srv\"}", 1.0),
        ("heteronym_host_connections{state=\"active\"}", 1.0),
        ("heteronym_pairs{state=\"active\",via=\"federation\"}", 2.0),
        ("heteronym_pairs{state=\"active\",via=\"local\"}", 1.0),
        ("heteronym_local_links{state=\"up\"}", 1.0),
        ("heteronym_local_links{state=\"down\"}", 1.0),
        ("heteronym_queue_bytes{queue=\"router\"}", 0.0),
        ("heteronym_resumed_pairs_total", 0.0),
    ];
    for (sample, value) in exact {
        assert_eq!(scrape.value(sample), value, "{sample}");
    }
    assert!(scrape.value("heteronym_stanza_bytes_total{direction=\"out\"}") > 100.0);
    let expiry = scrape.value("heteronym_certificate_expiry_seconds{domain=\"saramago.lit\"}");
    assert!((80.0..=91.0).contains(&(expiry / 86400.0)), "the authority gives 90 days: {expiry}");
    stage.end().await;
}

/// A connection takes no count with it.
#[tokio::test]
async fn counters_outlive_connections() {
    let mut stage = Stage::new().await;
    stage.local.tell("blimunda@blimunda.lit", "c@campos.lit", "last").await;
    stage.link.expect("last").await;
    let Stage { world, link, .. } = stage;
    let (code, _) = post(world.router.admin, &format!("/api/hosts/{PEER}/close"), "");
    assert_eq!(code, 200);
    let mut link = link;
    link.wire.expect_end().await;
    wait(&world, |scrape| scrape.value("heteronym_host_connections{state=\"active\"}") == 0.0).await;
    assert_eq!(scrape(&world).await.value("heteronym_stanzas_total{direction=\"out\",kind=\"message\"}"), 2.0);
}

async fn wait(world: &World, fact: impl Fn(&Scrape) -> bool) {
    let until = tokio::time::Instant::now() + DEADLINE;
    while !fact(&scrape(world).await) {
        assert!(tokio::time::Instant::now() < until, "it did not come about");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_operator_opens_a_pair_without_a_stanza_and_ends_it() {
    let mut stage = Stage::new().await;
    let (admin, pair) =
        (stage.world.router.admin, json!({"local": "saramago.lit", "remote": "pessoa.lit"}).to_string());
    assert_eq!(post(admin, "/api/pairs/deactivate", &pair).0, 404, "there is none yet");
    assert_eq!(post(admin, "/api/pairs/activate", &pair).0, 202);
    let aid = stage.link.serve(&stage.pessoa).await;
    stage.talk().await;
    let pairs = stage.world.router.pairs("saramago.lit", "pessoa.lit").await;
    assert_eq!(pairs.iter().map(|pair| pair.state).collect::<Vec<_>>(), [PairState::Active]);
    assert_eq!(post(admin, "/api/pairs/deactivate", &pair).0, 200);
    let ended = stage.link.hear_control().await;
    assert!(
        matches!(ended, Control::Deactivate { aid: of, reason: DeactivateReason::Policy } if of == aid),
        "{ended:?}"
    );
    stage.end().await;
}

#[tokio::test]
async fn a_pair_of_somebody_elses_domain_cannot_be_opened() {
    let stage = Stage::new().await;
    let pair = json!({"local": "pessoa.lit", "remote": "saramago.lit"}).to_string();
    let (code, answer) = post(stage.world.router.admin, "/api/pairs/activate", &pair);
    assert_eq!((code, answer["error"].as_str()), (404, Some("pessoa.lit is not served here")));
    stage.end().await;
}

#[tokio::test]
async fn what_waits_is_told_with_its_reason() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "waits").await;
    let theirs = stage.link.show(&stage.pessoa).await;
    let request = stage.link.hear_request().await;
    let (code, queues) = get_json(stage.world.router.admin, "/api/queues?pair=saramago.lit,pessoa.lit");
    assert_eq!((code, &queues["count"]), (200, &json!(1)), "{queues}");
    let queue = &queues["queues"][0];
    assert_eq!(
        (&queue["where"], &queue["name"], &queue["why"]),
        (&json!("host"), &json!(PEER), &json!("the pair is being activated"))
    );
    assert!(queue["bytes"].as_u64().unwrap() > 50 && queue["oldest_seconds"].as_f64().unwrap() >= 0.0, "{queue}");
    assert_eq!(get_json(stage.world.router.admin, "/api/queues?host=xmpp.third.isp").1["count"], 0);
    stage.link.answer(&stage.pessoa, &theirs, request).await;
    stage.link.expect("waits").await;
    assert_eq!(get_json(stage.world.router.admin, "/api/queues").1["count"], 0);
    stage.end().await;
}

#[tokio::test]
async fn a_domain_that_is_added_is_served_and_one_that_is_removed_is_not() {
    let mut stage = Stage::new().await;
    let added = stage.world.authority.issue(&Request::new(["cavaleiro.lit"], KeyKind::P256)).unwrap();
    added.write(&stage.world.folder.path().join("certs/cavaleiro.lit")).unwrap();
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let text = stage.world.text.replace("'saramago.lit', 'chat", "'cavaleiro.lit', 'chat");
    assert_eq!(stage.world.reload(&text).0, 200);
    let ended = stage.link.hear_control().await;
    assert!(matches!(ended, Control::Deactivate { reason: DeactivateReason::Policy, .. }), "{ended:?}");
    stage.local.tell(JOSE, ANA, "no-longer-ours").await;
    stage.local.expect_error("no-longer-ours", "not-authorized").await;
    stage.local.tell("c@cavaleiro.lit", ANA, "ours-now").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("ours-now").await;
    stage.end().await;
}

#[tokio::test]
async fn an_entry_that_is_added_is_served_and_the_others_keep_their_links() {
    let mut stage = Stage::new().await;
    let added = stage.world.authority.issue(&Request::new(["cavaleiro.lit"], KeyKind::P256)).unwrap();
    added.write(&stage.world.folder.path().join("certs/cavaleiro.lit")).unwrap();
    // Before the others, so that no place in the file counts.
    let entry = format!(
        "[[local]]\nname = 'three'\ndomains = ['cavaleiro.lit']\nattach = {{ kind = 'component', secret = '{SECRET}' }}\n"
    );
    let (head, tail) = stage.world.text.split_once("[[local]]").unwrap();
    let text = format!("{head}{entry}[[local]]{tail}");
    assert_eq!(stage.world.reload(&text).0, 200);
    let mut third = Local::attach(stage.world.router.component, "cavaleiro.lit", SECRET).await;
    third.tell("c@cavaleiro.lit", JOSE, "inside").await;
    stage.local.expect("inside").await;
    stage.talk().await;
    stage.world.reload(&stage.world.text);
    third.wire.expect_end().await;
    stage.end().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload() {
    let mut stage = Stage::new().await;
    let before = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    let renewed = stage.world.authority.issue(&Request::new(["saramago.lit"], KeyKind::P256)).unwrap();
    renewed.write(&stage.world.folder.path().join("certs/saramago.lit")).unwrap();
    let same = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    assert_eq!(same.certificate.fingerprint, before.certificate.fingerprint, "not before the reload");
    assert_eq!(stage.world.reload(&stage.world.text).0, 200);
    let after = stage.link.meet(&stage.pessoa, "saramago.lit").await;
    assert_ne!(after.certificate.fingerprint, before.certificate.fingerprint);
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.end().await;
}

#[tokio::test]
async fn a_reload_with_a_bad_file_changes_nothing() {
    let mut stage = Stage::new().await;
    let text = stage.world.text.replace("'saramago.lit', ", "").replace("secret = 's3cret'", "secret = 7");
    let (code, answer) = stage.world.reload(&format!("surprise = 1\n{text}"));
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!((code, errors.len()), (422, 3), "{answer}");
    assert!(errors[0].as_str().unwrap().starts_with("local[\"one\"].attach.secret: is a number"), "{answer}");
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.end().await;
}

#[tokio::test]
async fn a_reload_says_what_needs_a_restart() {
    let stage = Stage::new().await;
    let text = stage
        .world
        .text
        .replace("s2s = []", "s2s = ['127.0.0.1:0']")
        .replace("federation = ['127.0.0.1:0']", "federation = ['127.0.0.1:1']");
    let (code, answer) = stage.world.reload(&text);
    assert_eq!(
        (code, &answer["needs_restart"]),
        (200, &json!(["listen.federation", "listen.s2s", "listen.local_s2s"])),
        "{answer}"
    );
    assert!(stage.world.router.status().await.hosts.iter().any(|host| host.name == PEER), "and goes on as before");
    stage.end().await;
}

#[tokio::test]
async fn a_reload_takes_over_a_secret_and_keeps_the_links() {
    let mut stage = Stage::new().await;
    let text = stage.world.text.replace("secret = 's3cret'", "secret = 'other'");
    assert_eq!(stage.world.reload(&text).0, 200);
    stage.talk().await;
    let mut old = Local::knock(stage.world.router.component, "baltasar.lit", SECRET).await;
    old.wire.expect_error(heteronym_proto::stream_error::Condition::NotAuthorized).await;
    Local::attach(stage.world.router.component, "baltasar.lit", "other").await;
    stage.end().await;
}

#[tokio::test]
async fn a_reload_applies_limits_and_policy() {
    let mut stage = Stage::new().await;
    let text = format!(
        "{}[federation.domains.'campos.lit']\npolicy = 'off'\n[limits]\nstanza_bytes = '10000'\n",
        stage.world.text
    );
    assert_eq!(stage.world.reload(&text).0, 200);
    let ended = stage.link.hear_control().await;
    assert!(matches!(ended, Control::Deactivate { reason: DeactivateReason::Policy, .. }), "{ended:?}");
    stage.local.tell("b@blimunda.lit", "c@campos.lit", "policy").await;
    stage.local.expect_error("policy", "remote-server-not-found").await;
    let long = "x".repeat(11_000);
    stage.local.send(format!("<message from='{JOSE}' to='{ANA}' id='long'><body>{long}</body></message>")).await;
    stage.local.expect_error("long", "policy-violation").await;
    assert_eq!(stage.world.reload(&stage.world.text).0, 200);
    stage.link.activate(&stage.world.domain("campos.lit"), "blimunda.lit").await;
    stage.end().await;
}

#[tokio::test]
async fn domains_of_a_file_are_read_again() {
    let mut stage = Stage::new().await;
    let folder = stage.world.folder.path();
    for domain in ["d0.lit", "d1.lit"] {
        let issued = stage.world.authority.issue(&Request::new([domain], KeyKind::P256)).unwrap();
        issued.write(&folder.join("certs").join(domain)).unwrap();
    }
    fs::write(folder.join("domains"), "d0.lit\n").unwrap();
    let text = stage.world.text.replace("name = 'one'", "name = 'one'\ndomains_file = 'domains'");
    assert_eq!(stage.world.reload(&text).0, 200);
    fs::write(folder.join("domains"), "d1.lit # instead\n").unwrap();
    assert_eq!(stage.world.reload(&text).0, 200);
    stage.local.tell("a@d0.lit", ANA, "gone").await;
    stage.local.expect_error("gone", "not-authorized").await;
    stage.local.tell("a@d1.lit", ANA, "there").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("there").await;
    let locals = get_json(stage.world.router.admin, "/api/status").1["locals"].clone();
    assert!(locals[0]["domains"].as_array().unwrap().contains(&json!("d1.lit")), "{locals}");
    stage.end().await;
}

#[tokio::test]
async fn a_reload_forgets_failed_lookups() {
    let mut stage = Stage::new().await;
    stage.world.names.fail("pessoa.lit");
    stage.local.tell(JOSE, ANA, "failed").await;
    stage.local.expect_error("failed", "remote-server-timeout").await;
    stage.world.names.recover("pessoa.lit");
    stage.local.tell(JOSE, ANA, "remembered").await;
    stage.local.expect_error("remembered", "remote-server-timeout").await;
    assert_eq!(stage.world.reload(&stage.world.text).0, 200);
    stage.local.tell(JOSE, ANA, "forgotten").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("forgotten").await;
    stage.end().await;
}

#[tokio::test]
async fn a_reload_forgets_refusals() {
    use heteronym_proto::control::About;
    use heteronym_proto::refusal::Refusal;
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "refused").await;
    let question = stage.link.hear_question().await;
    stage.link.refuse(About::Id(question.id), Refusal::UnknownDomain).await;
    stage.local.expect_error("refused", "remote-server-not-found").await;
    stage.local.tell(JOSE, ANA, "remembered").await;
    stage.local.expect_error("remembered", "remote-server-not-found").await;
    assert_eq!(stage.world.reload(&stage.world.text).0, 200);
    stage.local.tell(JOSE, ANA, "forgotten").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("forgotten").await;
    assert_eq!(stage.world.host.name, name(PEER));
    stage.end().await;
}

#[tokio::test]
async fn a_refused_domain_is_on_the_status_page_until_its_certificate_is_right() {
    let mut stage = Stage::new().await;
    let folder = stage.world.folder.path().join("certs/saramago.lit");
    let other = stage.world.authority.issue(&Request::new(["other.lit"], KeyKind::P256)).unwrap();
    other.write(&folder).unwrap();
    assert_eq!(stage.world.reload(&stage.world.text).0, 200);
    let refused = get_json(stage.world.router.admin, "/api/status").1["refused"].clone();
    assert_eq!(
        (refused.as_array().map(Vec::len), &refused[0]["domain"]),
        (Some(1), &json!("saramago.lit")),
        "{refused}"
    );
    assert!(refused[0]["why"].as_str().unwrap().contains("is for other.lit, not for saramago.lit"), "{refused}");
    stage.local.tell(JOSE, ANA, "refused").await;
    stage.local.expect_error("refused", "internal-server-error").await;
    stage.talk().await;
    let right = stage.world.authority.issue(&Request::new(["saramago.lit"], KeyKind::P256)).unwrap();
    right.write(&folder).unwrap();
    assert_eq!(stage.world.reload(&stage.world.text).0, 200);
    assert_eq!(get_json(stage.world.router.admin, "/api/status").1["refused"], json!([]));
    stage.local.tell(JOSE, ANA, "served").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("served").await;
    stage.end().await;
}
