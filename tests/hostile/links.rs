//! Host streams of an enemy that is authenticated, and has a pair active: what it may not say there.

use heteronym_proto::control::{About, Control, UndeliveredReason};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::stream_error::Condition;

use super::{ENEMY, JOSE, active, host, third};
use crate::support::host::{AUTH, Host};
use crate::support::link::Link;
use crate::support::message;
use crate::support::stage::{DECIDER, ROUTER, Stage, World};
use crate::support::wire::Heard;

/// Says `hostile` between two good stanzas: the first arrives, the stream ends with this error, and
/// nothing behind it has any effect.
async fn ends_the_stream(stage: &mut Stage, host: &Host, hostile: impl AsRef<[u8]>, condition: Condition) {
    let mut link = active(stage, host).await;
    let (before, after) = (message(ENEMY, JOSE, "before"), message(ENEMY, JOSE, "after"));
    link.wire.send([before.as_bytes(), hostile.as_ref(), after.as_bytes()].concat()).await;
    link.wire.expect_error(condition).await;
    stage.local.expect("before").await;
    stage.talk().await;
}

#[tokio::test]
async fn what_has_no_place_on_an_established_stream_ends_it() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let dialback = "<db:result xmlns:db='jabber:server:dialback' from='third.lit' to='saramago.lit'>x</db:result>";
    let header = host.header(ROUTER).replace("<?xml version='1.0'?>", "");
    let large = format!("<hold xmlns='urn:xmpp:federation:0' domain='{}'/>", "x".repeat(150_000));
    for (hostile, condition) in [
        ("<stream:features/>", Condition::UnsupportedStanzaType),
        (dialback, Condition::UnsupportedStanzaType),
        ("<db:result from='third.lit' to='saramago.lit'>x</db:result>", Condition::BadNamespacePrefix),
        (AUTH, Condition::UnsupportedStanzaType),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", Condition::UnsupportedStanzaType),
        ("<handshake xmlns='jabber:component:accept'/>", Condition::UnsupportedStanzaType),
        ("<hold xmlns='urn:xmpp:federation:1' domain='third.lit'/>", Condition::UnsupportedStanzaType),
        (
            "<message xmlns='jabber:client' from='x@third.lit' to='jose@saramago.lit'/>",
            Condition::UnsupportedStanzaType,
        ),
        ("<chosen xmlns='urn:xmpp:federation:0'/>", Condition::PolicyViolation),
        (&large, Condition::PolicyViolation),
        (&header, Condition::NotWellFormed),
        ("</stream:strea>", Condition::NotWellFormed),
        ("text", Condition::NotWellFormed),
        ("&#65;", Condition::NotWellFormed),
        ("<hold xmlns='urn:xmpp:federation:0'><a></b></hold>", Condition::NotWellFormed),
        ("<!-- -->", Condition::RestrictedXml),
        ("<?xml version='1.0'?>", Condition::RestrictedXml),
        ("<!DOCTYPE x>", Condition::RestrictedXml),
        ("<![CDATA[x]]>", Condition::RestrictedXml),
        ("<hold xmlns='urn:xmpp:federation:0' domain='&lol;'/>", Condition::RestrictedXml),
    ] {
        ends_the_stream(&mut stage, &host, hostile, condition).await;
    }
    stage.end().await;
}

/// A stanza over the limit is skipped and handed back; one without an end is not waited for.
#[tokio::test]
async fn an_element_without_an_end_ends_its_stream() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    link.wire.send(format!("<message from='{ENEMY}' to='{JOSE}'><body>")).await;
    let piece = "x".repeat(1 << 20);
    let mut said = Vec::new();
    for _ in 0..64 {
        let sending = tokio::time::timeout(std::time::Duration::from_secs(20), link.wire.try_send(&piece));
        if !matches!(sending.await, Ok(Ok(()))) {
            break;
        }
    }
    loop {
        match link.wire.hear().await {
            Heard::Closed => break,
            Heard::Element(element) => said.push(element),
            Heard::End => (),
            Heard::Header(header) => panic!("{header:?}"),
        }
    }
    assert!(said.iter().all(|element| element.name() == "error"), "{said:?}");
    stage.talk().await;
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_of_many_levels_is_handed_back() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
    for (stanza, reason) in [
        (format!("<message from='{ENEMY}' to='{JOSE}'>{deep}</message>"), UndeliveredReason::TooLarge),
        (
            format!("<message from='{ENEMY}' to='{JOSE}'>{}{}</message>", "<a>".repeat(1000), "</a>".repeat(1000)),
            UndeliveredReason::Policy,
        ),
    ] {
        let n = link.send(stanza).await;
        link.expect_undelivered(n, reason).await;
    }
    link.tell(ENEMY, JOSE, "in").await;
    stage.local.expect("in").await;
    stage.end().await;
}

/// An error or the end of the peer's is answered with the end, whatever is under way.
#[tokio::test]
async fn a_stream_that_the_peer_ends_is_ended() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let error = |condition: &str| {
        format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
    };
    for end in [
        "</stream:stream>".to_owned(),
        error("system-shutdown") + "</stream:stream>",
        error("conflict"),
        error("no-such-condition"),
        "<stream:error/>".to_owned(),
    ] {
        let mut link = active(&stage, &host).await;
        link.wire.send(end).await;
        link.wire.expect_end().await;
        stage.talk().await;
    }
    stage.end().await;
}

/// Everything but a stanza of an active pair, and nothing of it reaches a server of ours.
#[tokio::test]
async fn addresses_mean_what_they_decode_to() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    let jose = "jose@saramago.lit";
    for (id, from, to) in [
        ("plain", "x@third.lit", jose),
        ("referenced", "x&#64;&#116;hird.lit", "jose@&#115;aramago.lit"),
        ("capitals", "x@THIRD.lit", "jose@Saramago.LIT"),
        ("dotted", "x@third.lit.", "jose@saramago.lit."),
    ] {
        link.tell(from, to, id).await;
        stage.local.expect(id).await;
    }
    for (from, to, reason) in [
        // One of our own, in every disguise.
        ("&#115;aramago.lit", jose, UndeliveredReason::Policy),
        ("SARAMAGO.lit.", jose, UndeliveredReason::Policy),
        ("x@&#x62;altasar&#46;lit", jose, UndeliveredReason::Policy),
        // Somebody else's.
        ("&#99;ampos@campos.lit", "blimunda@blimunda.lit", UndeliveredReason::PairNotActive),
        ("x@third.lit.campos.lit", jose, UndeliveredReason::PairNotActive),
        ("campos.lit/@third.lit", jose, UndeliveredReason::PairNotActive),
        ("campos.lit&#47;x@third.lit", jose, UndeliveredReason::PairNotActive),
        ("x@third.lit", "blimunda.lit/jose@saramago.lit", UndeliveredReason::PairNotActive),
        // Nobody's.
        ("x@third.lit&#10;", jose, UndeliveredReason::Policy),
        ("x@@third.lit", jose, UndeliveredReason::Policy),
        ("x@third.lit' from='campos@campos.lit", jose, UndeliveredReason::Policy),
        ("x@third.lit' x:from='campos@campos.lit", jose, UndeliveredReason::Policy),
        ("", jose, UndeliveredReason::Policy),
        ("x@third.lit", "", UndeliveredReason::Policy),
        ("x@third.lit", "192.0.2.7", UndeliveredReason::Policy),
    ] {
        let n = link.tell(from, to, "hidden").await;
        link.expect_undelivered(n, reason).await;
    }
    for missing in
        ["to='jose@saramago.lit'", "from='x@third.lit'", "xmlns:x='urn:x' x:from='x@third.lit' to='jose@saramago.lit'"]
    {
        let n = link.send(format!("<message {missing}/>")).await;
        link.expect_undelivered(n, UndeliveredReason::Policy).await;
    }
    let prefixed = "<message from='x@third.lit' x:from='campos@campos.lit' xmlns:x='urn:x' to='jose@saramago.lit' id='both'><body>both</body></message>";
    link.send(prefixed).await;
    stage.local.expect("both").await;
    stage.talk().await;
    stage.end().await;
}

/// The host with the smaller name has to choose: a link that it leaves open keeps nobody from another.
#[tokio::test]
async fn a_link_that_its_peer_never_chooses_is_ended() {
    let mut stage = Stage::on(World::configured("[limits]\nconnect_timeout = '3s'").await).await;
    let decider = host(&stage.world, DECIDER, "third.lit").await;
    let mut link = decider.dial(&stage.world.router).await;
    link.wire.expect_error(Condition::ConnectionTimeout).await;
    stage.talk().await;
    let mut again = decider.dial(&stage.world.router).await;
    again.settle().await;
    stage.local.tell(JOSE, ENEMY, "out").await;
    let question = again.hear_question().await;
    again.refuse(About::Id(question.id), Refusal::UnknownDomain).await;
    stage.local.expect_error("out", "remote-server-not-found").await;
    stage.talk().await;
    stage.end().await;
}

/// It may not pile them up either.
#[tokio::test]
async fn links_that_their_peer_does_not_choose_are_few() {
    let mut stage = Stage::new().await;
    let decider = host(&stage.world, DECIDER, "third.lit").await;
    let mut links: Vec<Link> = Vec::new();
    for _ in 0..=heteronym_proto::limits::READY_LINKS {
        links.push(decider.dial(&stage.world.router).await);
    }
    links.remove(0).wire.expect_error(Condition::Conflict).await;
    links[1].settle().await;
    stage.talk().await;
    stage.end().await;
}

/// Holding, going on, ending and handing back what it knows nothing of: none of it is anybody else's.
#[tokio::test]
async fn an_enemys_word_about_others_changes_nothing() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    for domain in ["campos.lit", "blimunda.lit", "saramago.lit", "pessoa.lit"] {
        link.control(&Control::Hold(crate::support::name(domain))).await;
    }
    let all = stage.world.router.status().await.pairs;
    assert!(all.len() >= 2, "{all:?}");
    for n in 0..10 {
        link.control(&Control::Undelivered { n, reason: UndeliveredReason::PairNotActive }).await;
    }
    let reason = heteronym_proto::control::DeactivateReason::KeyCompromise;
    link.control(&Control::Deactivate { aid: [0; 16], reason }).await;
    link.tell(ENEMY, JOSE, "in").await;
    stage.local.expect("in").await;
    stage.local.tell(JOSE, ENEMY, "out").await;
    link.expect("out").await;
    stage.talk().await;
    stage.end().await;
}
