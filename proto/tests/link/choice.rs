//! The choice of the link, and what may pass before it.

use std::time::Duration;

use heteronym_proto::link_choice::{LinkAction, LinkChoice};
use heteronym_proto::stream_error::Condition;

use crate::bench::{MINE, OTHER, Setup, message, name};
use crate::peer::Scripted;
use crate::wire::Link;

fn condition(link: &crate::bench::Side) -> Option<Condition> {
    link.closed.as_ref()?.as_ref().map(|error| error.condition)
}

#[test]
fn nothing_is_asked_before_the_link_is_chosen() {
    let mut link = Link::not_chosen(Setup::mine(), Setup::other());
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "2");
    link.run();
    assert_eq!(link.wire, []);
    let now = link.now;
    link.mine.act(now, |stream, out| stream.choose(now, out));
    link.run();
    assert_eq!((link.mine.bodies(), link.other.bodies()), (vec!["1"], vec!["2"]));
    assert_eq!((link.mine.chosen, link.other.chosen), (0, 1), "who chose is not told");
}

#[test]
fn pings_pass_before_the_choice() {
    let mut link = Link::not_chosen(Setup::mine(), Setup::other());
    link.mine.act(link.now, |stream, out| stream.probe(out));
    link.other.act(link.now, |stream, out| stream.probe(out));
    link.run();
    assert_eq!((link.mine.alive, link.other.alive), (1, 1));
    assert!(link.mine.closed.is_none() && link.other.closed.is_none());
}

#[test]
fn a_control_element_before_the_choice_ends_the_stream() {
    let mut peer = Scripted::not_chosen(Setup::mine());
    peer.raw("<hold xmlns='urn:xmpp:federation:0' domain='pessoa.lit'/>");
    assert_eq!(condition(&peer.side), Some(Condition::PolicyViolation));
}

#[test]
fn a_stanza_before_the_choice_ends_the_stream() {
    for stanza in [message("pessoa.lit", "saramago.lit", "1"), "<message><".to_owned() + "/message>"] {
        let mut peer = Scripted::not_chosen(Setup::mine());
        peer.raw(&stanza);
        assert_eq!(condition(&peer.side), Some(Condition::PolicyViolation), "{stanza}");
        assert!(peer.heard().is_empty());
    }
}

#[test]
fn only_the_smaller_name_chooses() {
    let mut peer = Scripted::new();
    peer.raw("<chosen xmlns='urn:xmpp:federation:0'/>");
    assert_eq!(condition(&peer.side), Some(Condition::PolicyViolation));
}

#[test]
fn a_link_that_nobody_chooses_ends() {
    let mut setup = Setup::mine();
    setup.limits.connect_timeout = Duration::from_secs(3);
    let mut peer = Scripted::not_chosen(setup);
    peer.advance(Duration::from_millis(2999));
    assert!(peer.side.closed.is_none());
    peer.advance(Duration::from_millis(1));
    assert_eq!(condition(&peer.side), Some(Condition::ConnectionTimeout));
    assert!(peer.side.stream.deadline().is_none(), "once");
}

#[test]
fn a_link_that_was_chosen_in_time_stays() {
    let mut link = Link::new();
    link.advance(Duration::from_secs(60));
    assert!(link.mine.closed.is_none() && link.other.closed.is_none());
}

#[test]
fn a_second_chosen_is_no_news() {
    let mut link = Link::new();
    let now = link.now;
    link.mine.act(now, |stream, out| stream.choose(now, out));
    link.run();
    assert_eq!(link.other.chosen, 1);
    assert!(link.other.closed.is_none());
}

#[test]
fn two_dials_at_once_end_with_one_link_and_no_stanza_lost() {
    let mut links = [Link::not_chosen(Setup::mine(), Setup::other()), Link::not_chosen(Setup::mine(), Setup::other())];
    let now = links[0].now;
    let (mut mine, mut other) =
        (LinkChoice::new(&name(MINE), &name(OTHER)), LinkChoice::new(&name(OTHER), &name(MINE)));
    assert_eq!((mine.want(now.instant), other.want(now.instant)), (Some(LinkAction::Dial), Some(LinkAction::Dial)));
    // Each side's own dial is ready first.
    let mut decisions = mine.ready(now.instant, 0, true);
    assert_eq!(other.ready(now.instant, 1, true), []);
    decisions.extend(mine.ready(now.instant, 1, false));
    assert_eq!(other.ready(now.instant, 0, false), []);
    assert_eq!(decisions, [LinkAction::Choose(0), LinkAction::Use(0), LinkAction::Probe(0)]);
    links[0].mine.act(now, |stream, out| stream.choose(now, out));
    links[0].mine.act(now, |stream, out| stream.probe(out));
    links[0].run();
    assert_eq!((links[0].other.chosen, links[0].mine.alive), (1, 1));
    assert_eq!(other.peer_chose(now.instant, 0), [LinkAction::Use(0)]);
    assert_eq!(mine.alive(0), [LinkAction::CloseConflict(1)]);
    assert_eq!((mine.ended(1), other.ended(1)), (vec![], vec![]));
    assert_eq!((mine.chosen(), other.chosen()), (Some(0), Some(0)));
    links[0].activate("pessoa.lit", "saramago.lit");
    links[0].expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_probe_is_answered_where_the_hosts_names_are_domains_too() {
    use crate::vault::Certificate;
    use heteronym_proto::suite::KeyType;
    let with_host = |host| Setup::new(host, vec![Certificate::new(host, KeyType::P256)]);
    let mut link = Link::with(with_host(MINE), with_host(OTHER));
    link.activate(OTHER, MINE);
    link.mine.act(link.now, |stream, out| stream.probe(out));
    link.run();
    // The ping itself is an ordinary stanza of the pair; the other host's own server answers it.
    let answer = format!("<iq from='{OTHER}' to='{MINE}' type='result' id='p1'/>");
    link.mine.hear(link.now, &answer);
    assert_eq!(link.mine.alive, 1);
    assert!(link.mine.delivered.is_empty(), "no local server gets it");
    link.mine.hear(link.now, &format!("<iq from='{OTHER}' to='{MINE}' type='result' id='p2'/>"));
    assert_eq!((link.mine.alive, link.mine.delivered.len()), (1, 1), "an answer to somebody else's question");
}
