//! What an operator asks for, on two host streams.

use std::sync::Arc;
use std::time::Duration;

use heteronym_proto::host_stream::HostStreamConfig;
use heteronym_proto::hosted::{Entry, Hosted};
use heteronym_proto::limits::Limits;
use heteronym_proto::stanza_error::Condition;

use crate::bench::{MINE, name, pair, policies};
use crate::wire::Link;

/// The configuration of xmpp.my.isp, which serves these domains.
fn serving(domains: &[&str], denied: &[&str]) -> HostStreamConfig {
    served_by(0, domains, denied)
}

/// The same by another entry.
fn served_by(entry: Entry, domains: &[&str], denied: &[&str]) -> HostStreamConfig {
    HostStreamConfig {
        host: name(MINE),
        hosted: Arc::new(domains.iter().map(|domain| (name(domain), entry)).collect::<Hosted>()),
        limits: Limits::default(),
        activation_lifetime: Duration::from_secs(24 * 3600),
        policies: policies(denied),
    }
}

/// Each takes the pair of saramago.lit and pessoa.lit away.
#[test]
fn a_pair_that_is_not_allowed_any_more_ends_behind_its_last_stanza() {
    let cases = [
        serving(&["chat.saramago.lit"], &[]),
        serving(&["saramago.lit", "pessoa.lit"], &[]),
        serving(&["saramago.lit"], &["pessoa.lit"]),
    ];
    for config in cases {
        let mut link = Link::active();
        link.mine.send(link.now, "saramago.lit", "pessoa.lit", "last");
        let now = link.now;
        link.mine.act(now, |stream, out| stream.reconfigure(now, config, out));
        link.run();
        assert_eq!(link.sent_by(MINE), ["message", "deactivate"]);
        assert_eq!(link.other.bodies(), ["last"]);
        assert!(!link.mine.is_active("saramago.lit", "pessoa.lit"));
        assert!(!link.mine.is_routed("saramago.lit", "pessoa.lit"));
    }
}

#[test]
fn a_pair_that_is_still_allowed_goes_on() {
    let mut link = Link::active();
    let now = link.now;
    link.mine.act(now, |stream, out| stream.reconfigure(now, serving(&["saramago.lit"], &["reis.lit"]), out));
    link.run();
    assert!(link.wire.is_empty(), "nobody hears of it: {:#?}", link.wire);
    link.expect_usable("saramago.lit", "pessoa.lit");
}

/// Also where the last stanza went to the former.
#[test]
fn a_domain_may_move_to_another_server() {
    let mut link = Link::active();
    let now = link.now;
    for entry in [0, 1] {
        link.mine.act(now, |stream, out| stream.reconfigure(now, served_by(entry, &["saramago.lit"], &[]), out));
        link.other.send(now, "pessoa.lit", "saramago.lit", "x");
        link.run();
        assert_eq!(link.mine.delivered_as.last().map(|(_, _, entry)| *entry), Some(entry));
    }
}

#[test]
fn what_waits_for_a_pair_that_is_not_allowed_any_more_comes_back() {
    let mut link = Link::new();
    let now = link.now;
    link.mine.send(now, "saramago.lit", "pessoa.lit", "waits");
    let waiting: Vec<_> = link.mine.stream.waiting().map(|(record, queue)| (record.pair.clone(), queue)).collect();
    assert_eq!((waiting.len(), &waiting[0].0, waiting[0].1.count), (1, &pair("saramago.lit", "pessoa.lit"), 1));
    link.mine.act(now, |stream, out| stream.reconfigure(now, serving(&["chat.saramago.lit"], &[]), out));
    assert_eq!(link.mine.bounced_bodies(), ["waits"]);
    assert_eq!(link.mine.conditions(), [Condition::RemoteServerNotFound]);
    assert_eq!(link.mine.stream.waiting().count(), 0);
}

#[test]
fn a_pair_that_is_wanted_becomes_active_without_a_stanza() {
    let mut link = Link::new();
    let now = link.now;
    link.mine.act(now, |stream, out| stream.want_now(now, &pair("saramago.lit", "pessoa.lit"), out));
    link.run();
    assert!(link.mine.is_active("saramago.lit", "pessoa.lit"));
    let before = link.wire.len();
    link.mine.act(now, |stream, out| stream.want_now(now, &pair("saramago.lit", "pessoa.lit"), out));
    link.run();
    assert_eq!(link.wire.len(), before, "it is active already");
}

#[test]
fn forwarded_stanzas_are_counted_once_each_way() {
    let mut link = Link::active();
    link.mine.stream.take_traffic();
    link.mine.send(link.now, "saramago.lit", "pessoa.lit", "out");
    link.other.send(link.now, "pessoa.lit", "saramago.lit", "in");
    link.run();
    let (incoming, outgoing) = link.mine.stream.take_traffic();
    assert_eq!((incoming.stanzas, outgoing.stanzas), ([1, 0, 0], [1, 0, 0]));
    assert!(incoming.bytes > 50 && outgoing.bytes > 50);
    let (incoming, outgoing) = link.mine.stream.take_traffic();
    assert_eq!((incoming.bytes, outgoing.bytes), (0, 0), "taken once");
}
