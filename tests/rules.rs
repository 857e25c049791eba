//! The rules that operators rely on, sentence by sentence, as far as they are built.
//!
//! | sentence | test |
//! |---|---|
//! | a local stanza may use any of the entry's domains as `from` | `local_links::one_link_serves_every_domain_of_its_entry` |
//! | anything else is bounced and counted | `anything_else_as_from_is_bounced_and_counted` |
//! | one of our domains as `from` from outside is refused | `stanzas::a_stanza_from_one_of_the_routers_domains_is_handed_back` |
//! | a pair whose both domains are ours is routed inside (`via` = `local`) | `federation::two_domains_of_the_router_talk_inside_it` |
//! | domains are compared after normalisation | `domains_are_compared_after_normalisation` |
//! | one link serves all domains of the entry, under whichever it was opened | `local_links::one_link_serves_every_domain_of_its_entry` |
//! | those of `domains_file` included | `a_link_opened_under_a_domain_of_the_file_serves_all` |
//! | a second link makes the router probe the first; answered, it gets `conflict` | `local_links::a_second_link_is_a_conflict_while_the_first_answers` |
//! | any answer counts | `any_answer_to_the_probe_counts` |
//! | silent, it takes over | `local_links::a_second_link_takes_the_place_of_a_silent_one` |
//! | what is wrong in the file, with the host's certificate or the roots: 78 | `configuration::*` |
//! | a domain's certificate is wrong: the router runs, the domain is refused, `check`, log and status say so | `a_domain_with_a_bad_certificate_is_refused_and_the_router_runs` |
//! | a certificate that ends while its pairs are active ends them | `certificates::the_end_of_a_peers_certificate_ends_its_pair`, `certificates::the_end_of_an_own_certificate_ends_its_pairs_and_bounces_what_comes_later` |
//! | `local_s2s` accepts only domains whose entry attaches so | `loopback::proofs::who_is_no_server_of_ours_is_told_so` |
//! | a server's key is checked with the secret, or by asking back | `loopback::proofs::the_secret_proves_a_server_and_nobody_is_asked_back`, `loopback::proofs::without_a_secret_the_server_is_asked_back` |
//! | classic S2S is used when the domain has no federation record | `classic::certificates_prove_both_servers` |
//! | or when the look-up failed | `classic::policies::a_look_up_that_fails_leads_to_classic` |
//! | or its host cannot be reached, TLS and SASL failures included | `classic::policies::a_host_that_cannot_be_reached_leads_to_classic` |
//! | and the remote domain is not pinned | `classic::pins::*` |
//! | never after the host refused | `classic::policies::a_host_that_refuses_the_pair_never_leads_to_classic` |
//! | `require` and `off` | `classic::policies::where_federation_is_required_nothing_goes_by_classic`, `classic::policies::where_federation_is_off_a_host_is_refused_and_a_server_let_in` |
//! | DNS failures are remembered, a reload forgets them | `operation::a_reload_forgets_failed_lookups` |
//! | refusals are remembered, a reload forgets them | `operation::a_reload_forgets_refusals` |
//! | `busy` is remembered as long as it says | `asking::a_busy_host_is_asked_again_and_the_stanza_arrives` |
//! | two entries with one name or domain, durations without a unit, `admin` without a token: errors | `configuration::every_kind_of_error_is_told_at_once` |

use std::fs;

use heteronym::check::{Level, check};
use heteronym::demo::authority::{KeyKind, Request};
use heteronym_net::clock::Now;
use heteronym_proto::stream_error::Condition;

use crate::support::http::{get, get_json};
use crate::support::local::Local;
use crate::support::stage::{SECRET, Stage, World};

const ANA: &str = "ana@pessoa.lit";

#[tokio::test]
async fn anything_else_as_from_is_bounced_and_counted() {
    let mut stage = Stage::new().await;
    for (n, foreign) in ["a@pessoa.lit", "a@baltasar.lit", "a@nobody.lit"].into_iter().enumerate() {
        stage.local.tell(foreign, ANA, "foreign").await;
        stage.local.expect_error("foreign", "not-authorized").await;
        let (_, metrics) = get(stage.world.router.admin, "/metrics", None);
        let count = format!("reason=\"foreign-from\"}} {}\n", n + 1);
        assert!(metrics.contains(&count), "{count} is not in {metrics}");
    }
    stage.end().await;
}

#[tokio::test]
async fn domains_are_compared_after_normalisation() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.local.tell("jose@SARAMAGO.lit", "ana@Pessoa.LIT.", "out").await;
    stage.link.expect("out").await;
    stage.link.tell("ana@PESSOA.lit", "jose@Saramago.lit.", "in").await;
    stage.local.expect("in").await;
    assert_eq!(stage.world.router.pairs("saramago.lit", "pessoa.lit").await.len(), 1, "one pair");
    stage.end().await;
}

#[tokio::test]
async fn a_link_opened_under_a_domain_of_the_file_serves_all() {
    let mut stage = Stage::new().await;
    fs::write(stage.world.folder.path().join("domains"), "bücher.lit\n").unwrap();
    let text = stage.world.text.replace("name = 'two'", "name = 'two'\ndomains_file = 'domains'");
    assert_eq!(stage.world.reload(&text).0, 200);
    let mut second = Local::attach(stage.world.router.component, "xn--bcher-kva.lit", SECRET).await;
    second.tell("sete@baltasar.lit", "jose@saramago.lit", "listed").await;
    stage.local.expect("listed").await;
    stage.local.tell("jose@saramago.lit", "a@xn--bcher-kva.lit", "of-the-file").await;
    second.expect("of-the-file").await;
    stage.end().await;
}

#[tokio::test]
async fn any_answer_to_the_probe_counts() {
    let mut stage = Stage::new().await;
    let mut newcomer = Local::knock(stage.world.router.component, "saramago.lit", SECRET).await;
    let ping = stage.local.wire.element().await;
    let attr = |name| ping.attr(name).unwrap();
    let error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let (from, to, id) = (attr("to"), attr("from"), attr("id"));
    stage.local.send(format!("<iq type='error' from='{from}' to='{to}' id='{id}'>{error}</iq>")).await;
    newcomer.wire.expect_error(Condition::Conflict).await;
    stage.end().await;
}

/// What is wrong with the certificate of chat.saramago.lit, and what is said about it.
#[tokio::test]
async fn a_domain_with_a_bad_certificate_is_refused_and_the_router_runs() {
    let now = Now::read().unix;
    let of = |name: &str| Request::new([name], KeyKind::P256);
    let expired = Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..of("chat.saramago.lit") };
    let cases: [(&str, Option<Request>, &str); 4] = [
        ("missing", None, "cannot read"),
        ("expired", Some(expired), "the certificate expired at"),
        ("other name", Some(of("other.lit")), "is for other.lit, not for chat.saramago.lit"),
        ("other key", Some(of("chat.saramago.lit")), "is not the key of the first certificate"),
    ];
    for (case, request, why) in cases {
        let mut stage = Stage::new().await;
        let folder = stage.world.folder.path().join("certs/chat.saramago.lit");
        let key = fs::read(folder.join("privkey.pem")).unwrap();
        match request {
            Some(request) => stage.world.authority.issue(&request).unwrap().write(&folder).unwrap(),
            None => fs::remove_file(folder.join("fullchain.pem")).unwrap(),
        }
        if case == "other key" {
            fs::write(folder.join("privkey.pem"), key).unwrap();
        }
        assert_eq!(stage.world.reload(&stage.world.text).0, 200, "{case}");
        stage.local.tell("r@chat.saramago.lit", ANA, "refused").await;
        let told = stage.local.hear_error("refused", "internal-server-error").await;
        assert!(!told.contains('/') && !told.contains(why), "{case}: files and reasons are the operator's: {told}");
        let refused = get_json(stage.world.router.admin, "/api/status").1["refused"][0].clone();
        assert_eq!(refused["domain"], "chat.saramago.lit", "{case}");
        assert!(refused["why"].as_str().unwrap().contains(why), "{case}: {refused}");
        let file = stage.world.folder.path().join("heteronym.toml");
        let report = tokio::task::spawn_blocking(move || check(&file, true)).await.unwrap().unwrap();
        let found = report.findings.iter().find(|finding| finding.subject == "chat.saramago.lit").unwrap();
        assert!(found.level == Level::Error && found.why.contains(why), "{case}: {found:?}");
        stage.end().await;
    }
}

#[tokio::test]
async fn a_router_starts_without_a_domains_certificate() {
    let world = World::configured(
        "[[local]]\nname = 'three'\ndomains = ['nocert.lit']\nattach = { kind = 'component', secret = 'x' }",
    )
    .await;
    let mut third = Local::attach(world.router.component, "nocert.lit", "x").await;
    let mut local = world.attach().await;
    third.tell("a@nocert.lit", "jose@saramago.lit", "inside").await;
    local.expect("inside").await;
    let refused = get_json(world.router.admin, "/api/status").1["refused"].clone();
    assert_eq!(refused[0]["domain"], "nocert.lit", "{refused}");
}
