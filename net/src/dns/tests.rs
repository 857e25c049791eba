//! The resolver against a name server of a few lines on 127.0.0.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::{DnsError, Resolver};
use crate::testing::name_server::serve;

const SERVICE: &str = "_xmpp-federation._tcp";

/// What to answer, and whether only TCP gets all of it.
struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    authority: Vec<Record>,
    truncated: bool,
}

impl Reply {
    fn with(answers: Vec<Record>) -> Option<Self> {
        Some(Self { code: ResponseCode::NoError, answers, authority: Vec::new(), truncated: false })
    }

    fn code(code: ResponseCode) -> Option<Self> {
        Some(Self { code, answers: Vec::new(), authority: Vec::new(), truncated: false })
    }

    fn to_bytes(&self, question: &[u8], over_udp: bool) -> Vec<u8> {
        let question = Message::from_vec(question).unwrap();
        let mut message = Message::response(question.id, question.op_code);
        message.add_queries(question.queries.clone());
        message.metadata.response_code = self.code;
        message.metadata.recursion_available = true;
        if self.truncated && over_udp {
            message.metadata.truncation = true;
        } else {
            message.add_answers(self.answers.clone());
            message.add_authorities(self.authority.clone());
        }
        message.to_vec().unwrap()
    }
}

async fn resolver(reply: impl Fn(&Name, RecordType) -> Option<Reply> + Send + Sync + Clone + 'static) -> Resolver {
    let answer = move |question: &[u8], over_udp| {
        let parsed = Message::from_vec(question).unwrap();
        let query = parsed.queries.first().unwrap().clone();
        reply(query.name(), query.query_type()).map(|reply| reply.to_bytes(question, over_udp))
    };
    Resolver::new(&[serve(answer).await]).unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn srv(owner: &Name, ttl: u32, target: &str) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::SRV(SRV::new(10, 5, 5270, name(target))))
}

fn soa(negative_ttl: u32) -> Record {
    let soa = SOA::new(name("ns.lit."), name("admin.lit."), 1, 3600, 600, 86400, negative_ttl);
    Record::from_rdata(name("lit."), 3600, RData::SOA(soa))
}

#[tokio::test]
async fn a_record_is_found_with_its_port_and_the_smallest_ttl() {
    let resolver = resolver(|owner, kind| {
        assert_eq!((owner.to_ascii().as_str(), kind), ("_xmpp-federation._tcp.saramago.lit.", RecordType::SRV));
        Reply::with(vec![srv(owner, 300, "XMPP.my.isp."), srv(owner, 30, "two.my.isp.")])
    })
    .await;
    let answer = resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    assert_eq!(answer.ttl, Duration::from_secs(30));
    let first = &answer.records[0];
    assert_eq!((first.priority, first.weight, first.port, first.target.as_str()), (10, 5, 5270, "xmpp.my.isp"));
    assert_eq!(answer.records.len(), 2);
}

/// RFC 2782 wants none in the way; resolvers follow them all the same.
#[tokio::test]
async fn an_alias_is_followed_and_its_ttl_counts() {
    let resolver = resolver(|owner, kind| {
        let alias = |target: &str| Record::from_rdata(owner.clone(), 20, RData::CNAME(CNAME(name(target))));
        let host = Record::from_rdata(name("a.my.isp."), 300, RData::A(A(Ipv4Addr::LOCALHOST)));
        Reply::with(match (owner.to_ascii().as_str(), kind) {
            ("_xmpp-federation._tcp.saramago.lit.", RecordType::SRV) => {
                vec![alias("srv.my.isp."), srv(&name("srv.my.isp."), 300, "xmpp.my.isp.")]
            }
            ("_xmpp-federation._tcp.saramago.lit.", RecordType::CNAME) => vec![alias("srv.my.isp.")],
            ("srv.my.isp.", RecordType::SRV) => vec![srv(owner, 300, "xmpp.my.isp.")],
            ("xmpp.my.isp.", RecordType::A) => vec![alias("a.my.isp."), host],
            _ => Vec::new(),
        })
    })
    .await;
    let answer = resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    assert_eq!(answer.records.iter().map(|record| record.target.as_str()).collect::<Vec<_>>(), ["xmpp.my.isp"]);
    assert_eq!(answer.ttl, Duration::from_secs(20));
    assert_eq!(resolver.addresses("xmpp.my.isp").await.unwrap(), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
}

#[tokio::test]
async fn aliases_without_end_are_not_an_absence() {
    let resolver = resolver(|owner, kind| {
        let next = name(&format!("a.{owner}"));
        let alias = Record::from_rdata(owner.clone(), 20, RData::CNAME(CNAME(next)));
        Reply::with(if kind == RecordType::CNAME { vec![alias] } else { Vec::new() })
    })
    .await;
    let error = resolver.srv(SERVICE, "saramago.lit").await.unwrap_err();
    assert!(error.to_string().contains("with more than 8 aliases"), "{error}");
}

#[tokio::test]
async fn nothing_is_cached_here() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let resolver = resolver(move |owner, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply::with(vec![srv(owner, 300, "xmpp.my.isp.")])
    })
    .await;
    resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_target_dot_stays_a_dot() {
    let resolver = resolver(|owner, _| Reply::with(vec![srv(owner, 300, ".")])).await;
    let answer = resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    assert_eq!(answer.records[0].target, ".");
}

#[tokio::test]
async fn nxdomain_is_a_clean_absence_for_the_soas_time() {
    let resolver = resolver(|_, _| {
        let mut reply = Reply::code(ResponseCode::NXDomain)?;
        reply.authority.push(soa(90));
        Some(reply)
    })
    .await;
    let answer = resolver.srv(SERVICE, "nobody.lit").await.unwrap();
    assert_eq!((answer.records.len(), answer.ttl), (0, Duration::from_secs(90)));
}

#[tokio::test]
async fn nodata_without_soa_is_a_clean_absence_for_a_minute() {
    let resolver = resolver(|_, _| Reply::with(Vec::new())).await;
    let answer = resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    assert_eq!((answer.records.len(), answer.ttl), (0, Duration::from_secs(60)));
}

#[tokio::test]
async fn servfail_is_not_an_absence() {
    let resolver = resolver(|_, _| Reply::code(ResponseCode::ServFail)).await;
    let error = resolver.srv(SERVICE, "saramago.lit").await.unwrap_err();
    assert!(matches!(&error, DnsError::ServFail { .. }), "{error}");
    assert!(error.to_string().contains("SRV _xmpp-federation._tcp.saramago.lit: SERVFAIL from 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn refused_is_not_an_absence() {
    let resolver = resolver(|_, _| Reply::code(ResponseCode::Refused)).await;
    let error = resolver.srv(SERVICE, "saramago.lit").await.unwrap_err();
    assert!(matches!(error, DnsError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_referral_is_not_an_absence() {
    let resolver = resolver(|_, _| {
        let mut reply = Reply::with(Vec::new())?;
        let ns = RData::NS(hickory_resolver::proto::rr::rdata::NS(name("ns.lit.")));
        reply.authority.push(Record::from_rdata(name("lit."), 60, ns));
        Some(reply)
    })
    .await;
    let error = resolver.srv(SERVICE, "saramago.lit").await.unwrap_err();
    assert!(matches!(error, DnsError::Unusable { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_within_ten_seconds() {
    let resolver = resolver(|_, _| None).await;
    let before = tokio::time::Instant::now();
    let error = resolver.srv(SERVICE, "saramago.lit").await.unwrap_err();
    assert!(matches!(error, DnsError::Timeout { .. }), "{error}");
    assert!(before.elapsed() <= Duration::from_secs(10), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let resolver = resolver(|owner, _| {
        let mut reply = Reply::with(vec![srv(owner, 300, "xmpp.my.isp.")])?;
        reply.truncated = true;
        Some(reply)
    })
    .await;
    let answer = resolver.srv(SERVICE, "saramago.lit").await.unwrap();
    assert_eq!(answer.records[0].target, "xmpp.my.isp");
}

#[tokio::test]
async fn a_name_that_is_none_is_not_asked_for() {
    let resolver = resolver(|_, _| unreachable!("nothing to ask")).await;
    let error = resolver.srv(SERVICE, &"a".repeat(64)).await.unwrap_err();
    assert!(matches!(error, DnsError::BadName { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_of_a_thousand_records_is_cut() {
    let resolver = resolver(|owner, _| {
        let mut reply = Reply::with((0..1000).map(|n| srv(owner, 300, &format!("h{n}."))).collect())?;
        reply.truncated = true;
        Some(reply)
    })
    .await;
    assert_eq!(resolver.srv(SERVICE, "many.lit").await.unwrap().records.len(), 64);
}

#[tokio::test]
async fn addresses_take_turns_and_ipv6_begins() {
    let resolver = resolver(|owner, kind| {
        let v4 = |n| Record::from_rdata(owner.clone(), 60, RData::A(A(Ipv4Addr::new(192, 0, 2, n))));
        let v6 = Record::from_rdata(owner.clone(), 60, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
        Reply::with(if kind == RecordType::A { vec![v4(1), v4(2)] } else { vec![v6] })
    })
    .await;
    let expected: Vec<IpAddr> = ["::1", "192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap()).to_vec();
    assert_eq!(resolver.addresses("xmpp.my.isp").await.unwrap(), expected);
}

#[tokio::test]
async fn half_an_answer_will_do_if_it_has_an_address() {
    let resolver = resolver(|owner, kind| match kind {
        RecordType::A => Reply::with(vec![Record::from_rdata(owner.clone(), 60, RData::A(A(Ipv4Addr::LOCALHOST)))]),
        _ => Reply::code(ResponseCode::ServFail),
    })
    .await;
    assert_eq!(resolver.addresses("xmpp.my.isp").await.unwrap(), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
}

/// Some name servers drop questions for AAAA: they cost a moment, not the time of a look-up.
#[tokio::test(start_paused = true)]
async fn an_address_does_not_wait_for_an_answer_that_does_not_come() {
    let resolver = resolver(|owner, kind| match kind {
        RecordType::A => Reply::with(vec![Record::from_rdata(owner.clone(), 60, RData::A(A(Ipv4Addr::LOCALHOST)))]),
        _ => None,
    })
    .await;
    let before = tokio::time::Instant::now();
    assert_eq!(resolver.addresses("xmpp.my.isp").await.unwrap(), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    assert!(before.elapsed() <= Duration::from_secs(1), "{:?}", before.elapsed());
}

#[tokio::test]
async fn half_an_answer_without_an_address_is_an_error() {
    let resolver = resolver(|_, kind| match kind {
        RecordType::A => Reply::with(Vec::new()),
        _ => Reply::code(ResponseCode::ServFail),
    })
    .await;
    assert!(matches!(resolver.addresses("xmpp.my.isp").await, Err(DnsError::ServFail { .. })));
}

#[tokio::test]
async fn a_host_without_addresses_has_none() {
    let resolver = resolver(|_, _| Reply::with(Vec::new())).await;
    assert_eq!(resolver.addresses("xmpp.my.isp").await.unwrap(), [] as [IpAddr; 0]);
}
