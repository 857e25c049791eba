//! What others are asked, and what becomes of their answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_server::proto::rr::rdata::opt::EdnsOption;
use hickory_server::proto::rr::rdata::{MX, NS, NULL, SOA, SRV};
use hickory_server::proto::rr::{DNSClass, Record};

use super::*;
use crate::dns::Resolver;
use crate::testing::name_server::serve;

/// A name server that answers by `answer`, which gets the question and whether it came by UDP.
async fn upstream(answer: impl Fn(Message, bool) -> Option<Message> + Send + Sync + Clone + 'static) -> SocketAddr {
    serve(move |bytes, udp| Some(answer(Message::from_vec(bytes).unwrap(), udp)?.to_vec().unwrap())).await
}

/// A responder that asks such a one.
async fn asking(answer: impl Fn(Message, bool) -> Option<Message> + Send + Sync + Clone + 'static) -> Asked {
    Asked::with("127.0.0.1:5268", &[upstream(answer).await])
}

/// An answer to `question` with nothing in it.
fn empty(question: Message, code: ResponseCode) -> Message {
    let mut answer = question.into_response();
    answer.metadata.response_code = code;
    answer.metadata.recursion_available = true;
    answer
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(owner).unwrap(), 300, data)
}

fn soa() -> Record {
    let name = |text| Name::from_ascii(text).unwrap();
    record("lit.", RData::SOA(SOA::new(name("ns.lit."), name("hostmaster.lit."), 7, 3600, 600, 86_400, 90)))
}

fn services(owner: &Name, count: u16) -> Vec<Record> {
    let target = |n| Name::from_ascii(format!("a-rather-long-name-of-a-host-{n}.other.isp.")).unwrap();
    (0..count).map(|n| Record::from_rdata(owner.clone(), 300, RData::SRV(SRV::new(5, 0, n, target(n))))).collect()
}

#[tokio::test]
async fn a_question_arrives_as_it_was_asked() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let asked = asking(move |question, _| {
        hear.lock().unwrap().push(question.clone());
        Some(empty(question, ResponseCode::NoError))
    })
    .await;
    let mixed = Name::from_ascii("_xMpp-cLient._tCp.pEssoa.liT.").unwrap();
    let mut first = question_of(mixed.clone(), RecordType::Unknown(65_280));
    first.metadata.authentic_data = true;
    let mut second = question("version.bind.", RecordType::TXT);
    second.queries[0].set_query_class(DNSClass::CH);
    second.metadata.recursion_desired = false;
    second.metadata.checking_disabled = true;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(4096).options_mut().insert(EdnsOption::Unknown(10, vec![1; 8]));
    second.set_edns(edns);
    for message in [&first, &second] {
        asked.ask(message).await;
    }
    let heard = heard.lock().unwrap().clone();
    let flags = |message: &Message| {
        let of = message.metadata;
        (of.recursion_desired, of.checking_disabled, of.authentic_data)
    };
    for (heard, asked) in heard.iter().zip([&first, &second]) {
        assert_eq!((&heard.queries, flags(heard)), (&asked.queries, flags(asked)));
    }
    assert!(heard[0].queries[0].name().eq_case(&mixed) && heard[0].edns.is_none());
    let edns = heard[1].edns.as_ref().unwrap();
    assert_eq!((edns.flags().dnssec_ok, edns.max_payload()), (true, 1232));
    assert_eq!(edns.options().as_ref(), [], "a cookie is between two");
    assert_eq!(asked.told(), [Outcome::Forwarded; 2]);
}

#[tokio::test]
async fn an_answer_comes_back_as_it_is() {
    let records = [
        record("pessoa.lit.", RData::MX(MX::new(10, Name::from_ascii("Mail.Pessoa.lit.").unwrap()))),
        record("pessoa.lit.", RData::Unknown { code: RecordType::DS, rdata: NULL::with(vec![1, 2, 8, 2, 9, 9]) }),
        record("pessoa.lit.", RData::Unknown { code: RecordType::Unknown(65_280), rdata: NULL::with(vec![7; 40]) }),
    ];
    let ns = record("lit.", RData::NS(NS(Name::from_ascii("ns.lit.").unwrap())));
    let glue = record("ns.lit.", RData::from(Ipv4Addr::new(192, 0, 2, 53)));
    let (answers, authority, additional) = (records.clone(), ns.clone(), glue.clone());
    let asked = asking(move |question, _| {
        let mut answer = empty(question, ResponseCode::NoError);
        answer.metadata.authoritative = true;
        answer.metadata.authentic_data = true;
        answer.add_answers(answers.clone()).add_authority(authority.clone()).add_additional(additional.clone());
        Some(answer)
    })
    .await;
    let question = question("pessoa.lit.", RecordType::ANY);
    let answer = asked.ask(&question).await;
    assert_eq!((answer.metadata.id, &answer.queries), (question.metadata.id, &question.queries));
    let flags = answer.metadata;
    assert!(flags.authoritative && flags.authentic_data && flags.recursion_available && !flags.truncation);
    assert_eq!((&answer.answers[..], &answer.authorities[..]), (&records[..], &[ns][..]));
    assert_eq!(answer.additionals, [glue]);
}

#[tokio::test]
async fn an_absence_comes_back_with_its_time() {
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let asked = asking(move |question, _| {
            let mut answer = empty(question, code);
            answer.add_authority(soa());
            Some(answer)
        })
        .await;
        let answer = asked.ask(&question("nobody.lit.", RecordType::AAAA)).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0));
        assert_eq!(answer.authorities, [soa()]);
    }
}

#[tokio::test]
async fn what_was_truncated_is_asked_for_again() {
    let asked = asking(|question, udp| {
        let owner = question.queries[0].name().clone();
        let mut answer = empty(question, ResponseCode::NoError);
        answer.metadata.truncation = udp;
        if !udp {
            answer.add_answers(services(&owner, 3));
        }
        Some(answer)
    })
    .await;
    let answer = asked.ask(&question("_sip._tcp.pessoa.lit.", RecordType::SRV)).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (3, false));
}

#[tokio::test]
async fn what_a_datagram_does_not_hold_comes_over_tcp() {
    let asked = asking(|question, udp| {
        let (owner, small) = (question.queries[0].name().clone(), udp && question.edns.is_none());
        let mut answer = empty(question, ResponseCode::NoError);
        answer.metadata.truncation = small;
        answer.add_answers(services(&owner, if small { 1 } else { 10 }));
        Some(answer)
    })
    .await;
    let mut question = question("_sip._tcp.pessoa.lit.", RecordType::SRV);
    let cut = asked.ask(&question).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty(), "{cut:?}");
    let mut stream = TcpStream::connect(asked.address).await.unwrap();
    tell(&mut stream, &question).await;
    let whole = hear(&mut stream).await;
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (10, false));
    let mut edns = Edns::new();
    for (size, held) in [(512, false), (1232, true)] {
        edns.set_max_payload(size);
        question.set_edns(edns.clone());
        let answer = asked.ask(&question).await;
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (if held { 10 } else { 0 }, !held), "{size}");
        assert!(answer.edns.is_some());
    }
}

#[tokio::test]
async fn a_resolver_finds_everything_through_it() {
    let asked = asking(|question, udp| {
        let query = question.queries[0].clone();
        let mut answer = empty(question, ResponseCode::NoError);
        match query.query_type() {
            RecordType::SRV if udp => answer.metadata.truncation = true,
            RecordType::SRV => drop(answer.add_answers(services(query.name(), 50))),
            RecordType::A => drop(answer.add_answer(record("pessoa.lit.", RData::from(Ipv4Addr::new(192, 0, 2, 7))))),
            _ => drop(answer.add_authority(soa())),
        }
        Some(answer)
    })
    .await;
    let resolver = Resolver::new(&[asked.address]).unwrap();
    let led = resolver.srv("_xmpp-server._tcp", "pessoa.lit").await.unwrap();
    assert_eq!((led.records.len(), led.ttl), (1, Duration::from_secs(60)));
    assert_eq!((led.records[0].port, led.records[0].target.as_str()), (5268, "127.0.0.1"));
    let absent = resolver.srv("_xmpps-server._tcp", "pessoa.lit").await.unwrap();
    assert_eq!((absent.records.len(), absent.ttl), (0, Duration::from_secs(60)));
    assert_eq!(resolver.addresses("127.0.0.1.").await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
    assert_eq!(resolver.addresses("pessoa.lit").await.unwrap(), [IpAddr::from([192, 0, 2, 7])]);
    assert_eq!(resolver.srv("_xmpp-client._tcp", "pessoa.lit").await.unwrap().records.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_failure() {
    let asked = asking(|_, _| None).await;
    let answer = asked.ask(&question("pessoa.lit.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(asked.told(), [Outcome::Failed]);
}

#[tokio::test(start_paused = true)]
async fn the_next_server_is_asked_where_one_knows_nothing() {
    let knows = upstream(|question, _| {
        let mut answer = empty(question, ResponseCode::NXDomain);
        answer.add_authority(soa());
        Some(answer)
    })
    .await;
    let refuses = upstream(|question, _| Some(empty(question, ResponseCode::Refused))).await;
    let silent = upstream(|_, _| None).await;
    for (servers, code) in [
        ([silent, knows], ResponseCode::NXDomain),
        ([refuses, knows], ResponseCode::NXDomain),
        ([knows, refuses], ResponseCode::NXDomain),
        ([refuses, silent], ResponseCode::Refused),
    ] {
        let asked = Asked::with("127.0.0.1:1", &servers);
        let answer = asked.ask(&question("nobody.lit.", RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, code, "{servers:?}");
        assert_eq!(asked.told(), [Outcome::Forwarded]);
    }
}

#[tokio::test]
async fn other_servers_are_asked_once_they_are_given() {
    let code = |code| upstream(move |question, _| Some(empty(question, code)));
    let (before, after) = (code(ResponseCode::NXDomain).await, code(ResponseCode::NotZone).await);
    let asked = Asked::with("127.0.0.1:1", &[before]);
    for (server, code) in [(before, ResponseCode::NXDomain), (after, ResponseCode::NotZone)] {
        asked.steering.resolvers().replace(&[server]);
        assert_eq!(asked.ask(&question("lit.", RecordType::A)).await.metadata.response_code, code);
    }
}

/// Not even what it knows: our own look-ups may come the same way.
#[tokio::test]
async fn who_would_ask_itself_answers_nothing() {
    let other = upstream(|question, _| Some(empty(question, ResponseCode::NXDomain))).await;
    let asked = Asked::with("127.0.0.1:1", &[other]);
    for servers in [[asked.address, other], [other, asked.address]] {
        asked.steering.resolvers().replace(&servers);
        for (name, kind) in [("pessoa.lit.", RecordType::A), (SERVER, RecordType::SRV), (SERVER, RecordType::A)] {
            let answer = asked.ask(&question(name, kind)).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{name} {kind}");
        }
    }
    assert_eq!(asked.told(), [Outcome::Failed; 6], "each was one question, not two");
    asked.steering.resolvers().replace(&[other]);
    assert_eq!(led_to(&asked.ask(&question(SERVER, RecordType::SRV)).await).0, 1);
}

/// On a clock that stands: no question ends while others come.
#[tokio::test(start_paused = true)]
async fn of_too_many_questions_one_fails_and_what_we_know_does_not() {
    let heard = Arc::new(AtomicUsize::new(0));
    let hear = Arc::clone(&heard);
    let silent = move |_, _| {
        hear.fetch_add(1, Ordering::Relaxed);
        None
    };
    let asked = asking(silent).await;
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let bytes = question("pessoa.lit.", RecordType::A).to_vec().unwrap();
    for under_way in 1..=256 {
        socket.send_to(&bytes, asked.address).await.unwrap();
        while heard.load(Ordering::Relaxed) < under_way {
            tokio::task::yield_now().await;
        }
    }
    let answer = asked.ask(&question("pessoa.lit.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(led_to(&asked.ask(&question(SERVER, RecordType::SRV)).await).0, 5268);
    assert_eq!(asked.told(), [Outcome::Failed, Outcome::Steered], "the others are still under way");
    assert_eq!(heard.load(Ordering::Relaxed), 256);
}
