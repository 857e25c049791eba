//! The responder, asked over real sockets on 127.0.0.1.

mod forwarding;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use hickory_server::proto::op::{Message, MessageType};
use hickory_server::proto::rr::{Name, RData};
use hickory_server::proto::serialize::binary::{BinDecodable as _, BinDecoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::listen::bind_both;

/// How long anything may take: nobody measures here.
const DEADLINE: Duration = Duration::from_secs(60);
/// Where no name server is: nothing may be asked there.
const NOBODY: &str = "127.0.0.1:1";
const SERVER: &str = "_xmpp-server._tcp.pessoa.lit.";

/// A responder, and what it told.
struct Asked {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Outcome>>>,
    steering: Steering,
}

impl Asked {
    fn new(target: &str) -> Self {
        Self::with(target, &[NOBODY.parse().unwrap()])
    }

    /// Passes on to `servers`.
    fn with(target: &str, servers: &[SocketAddr]) -> Self {
        let sockets = bind_both((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = sockets.0.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let tell = move |outcome| tell.lock().unwrap().push(outcome);
        let steering = Steering::start(vec![sockets], target.parse().unwrap(), servers, tell).unwrap();
        Self { address, told, steering }
    }

    /// The answer to `message`, over UDP.
    async fn ask(&self, message: &Message) -> Message {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), self.address).await.unwrap();
        let mut buffer = [0; 4096];
        let (size, from) = timeout(DEADLINE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(from, self.address);
        let mut decoder = BinDecoder::new(&buffer[..size]);
        let answer = Message::read(&mut decoder).unwrap();
        assert!(decoder.is_empty(), "there is something behind {answer:?}");
        answer
    }

    fn told(&self) -> Vec<Outcome> {
        self.told.lock().unwrap().clone()
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    question_of(Name::from_ascii(name).unwrap(), kind)
}

fn question_of(name: Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message
}

async fn tell(stream: &mut TcpStream, message: &Message) {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

async fn hear(stream: &mut TcpStream) -> Message {
    let answer = async {
        let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut bytes).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    };
    timeout(DEADLINE, answer).await.unwrap()
}

/// Port and labels of the target of the one SRV record.
fn led_to(answer: &Message) -> (u16, Vec<String>) {
    let [record] = answer.answers.as_slice() else { panic!("{answer:?}") };
    let RData::SRV(srv) = &record.data else { panic!("{answer:?}") };
    assert_eq!((srv.priority, srv.weight, record.ttl), (0, 0, 60));
    (srv.port, srv.target.iter().map(|label| String::from_utf8(label.to_vec()).unwrap()).collect())
}

#[tokio::test]
async fn every_domain_has_one_record() {
    let asked = Asked::new("127.0.0.1:5268");
    for domain in ["pessoa.lit.", "chat.campos.lit."] {
        let name = format!("_xmpp-server._tcp.{domain}");
        let question = question(&name, RecordType::SRV);
        let answer = asked.ask(&question).await;
        assert_eq!(led_to(&answer), (5268, ["127", "0", "0", "1"].map(str::to_owned).to_vec()));
        assert_eq!((answer.metadata.id, answer.metadata.message_type), (question.metadata.id, MessageType::Response));
        assert_eq!(answer.answers[0].name.to_ascii(), name);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    }
    assert_eq!(asked.told(), [Outcome::Steered; 2]);
}

#[tokio::test]
async fn the_target_is_an_address_that_can_be_dialled() {
    let cases = [
        ("127.0.0.3:1", &["127", "0", "0", "3"][..]),
        ("[2001:db8::1]:1", &["2001:db8::1"]),
        ("0.0.0.0:1", &["127", "0", "0", "1"]),
        ("[::]:1", &["::1"]),
        ("[::ffff:192.0.2.1]:1", &["192", "0", "2", "1"]),
    ];
    for (target, labels) in cases {
        let answer = Asked::new(target).ask(&question(SERVER, RecordType::SRV)).await;
        assert_eq!(led_to(&answer), (1, labels.iter().map(|&label| label.to_owned()).collect()), "{target}");
    }
}

/// A resolver that mixes the case of its question compares it with that of the answer (0x20).
#[tokio::test]
async fn the_case_of_a_question_is_kept() {
    let mixed = Name::from_ascii("_xMPp-sErVer._tCp.PEssOa.lIt.").unwrap();
    let answer = Asked::new("127.0.0.1:1").ask(&question_of(mixed.clone(), RecordType::SRV)).await;
    assert!(answer.queries[0].name().eq_case(&mixed) && answer.answers[0].name.eq_case(&mixed), "{answer:?}");
}

#[tokio::test]
async fn an_absence_says_how_long_it_holds() {
    let asked = Asked::new("127.0.0.1:1");
    let absent = [
        ("_xmpps-server._tcp.pessoa.lit.", RecordType::SRV),
        ("_xmpp-federation._tcp.pessoa.lit.", RecordType::SRV),
        (SERVER, RecordType::CNAME),
        (SERVER, RecordType::HTTPS),
        ("127.0.0.1.", RecordType::AAAA),
    ];
    for (name, kind) in absent {
        let answer = asked.ask(&question(name, kind)).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0), "{name} {kind}");
        let [authority] = answer.authorities.as_slice() else { panic!("{answer:?}") };
        let RData::SOA(soa) = &authority.data else { panic!("{answer:?}") };
        assert_eq!((authority.name.to_ascii().as_str(), authority.ttl, soa.minimum), (name, 60, 60));
    }
    assert_eq!(asked.told(), [Outcome::Absent; 5]);
}

#[tokio::test]
async fn the_target_has_the_address_that_it_is() {
    for (target, kind) in [("127.0.0.3:1", RecordType::A), ("[::1]:1", RecordType::AAAA)] {
        let asked = Asked::new(target);
        let steered = asked.ask(&question(SERVER, RecordType::SRV)).await;
        let RData::SRV(srv) = &steered.answers[0].data else { panic!("{steered:?}") };
        let answer = asked.ask(&question_of(srv.target.clone(), kind)).await;
        let expected: IpAddr = target.parse::<SocketAddr>().unwrap().ip();
        assert_eq!(answer.answers[0].data.ip_addr(), Some(expected), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_question_for_us_is_told_so() {
    let asked = Asked::new("127.0.0.1:1");
    let mut update = question(SERVER, RecordType::SRV);
    update.metadata.op_code = OpCode::Status;
    let mut two = question(SERVER, RecordType::SRV);
    two.add_query(Query::query(Name::root(), RecordType::A));
    let mut later = question(SERVER, RecordType::SRV);
    let mut edns = Edns::new();
    edns.set_version(1);
    later.set_edns(edns);
    let mut cases = vec![
        (update, ResponseCode::NotImp),
        (Message::query(), ResponseCode::FormErr),
        (two, ResponseCode::FormErr),
        (later, ResponseCode::BADVERS),
    ];
    cases.extend([RecordType::AXFR, RecordType::IXFR].map(|kind| (question("lit.", kind), ResponseCode::Refused)));
    let count = cases.len();
    for (message, code) in cases {
        // By number: 16 has two names.
        assert_eq!(u16::from(asked.ask(&message).await.metadata.response_code), u16::from(code), "{message:?}");
    }
    assert_eq!(asked.told(), vec![Outcome::Failed; count]);
}

#[tokio::test]
async fn what_is_no_message_does_no_harm() {
    let asked = Asked::new("127.0.0.1:1");
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut answer = question(SERVER, RecordType::SRV);
    answer.metadata.message_type = MessageType::Response;
    for bytes in [&b""[..], b"\0", &[0xff; 40], &answer.to_vec().unwrap()] {
        socket.send_to(bytes, asked.address).await.unwrap();
    }
    asked.ask(&question(SERVER, RecordType::SRV)).await;
    assert_eq!(asked.told(), [Outcome::Steered], "nothing else was a question");
}

#[tokio::test]
async fn edns_is_answered_to_who_uses_it() {
    let asked = Asked::new("127.0.0.1:1");
    let mut with = question(SERVER, RecordType::SRV);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    with.set_edns(edns);
    let answer = asked.ask(&with).await.edns.unwrap();
    assert_eq!((answer.max_payload(), answer.flags().dnssec_ok, answer.version()), (1232, true, 0));
    assert!(asked.ask(&question(SERVER, RecordType::SRV)).await.edns.is_none());
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let asked = Asked::new("127.0.0.1:1");
    let address = asked.address;
    assert!(bind_both(address).is_err());
    drop(asked);
    let rebound = async {
        while bind_both(address).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, rebound).await.unwrap();
}

#[tokio::test]
async fn a_connection_may_ask_more_than_once() {
    let asked = Asked::new("127.0.0.1:5268");
    let mut stream = TcpStream::connect(asked.address).await.unwrap();
    for _ in 0..3 {
        let question = question(SERVER, RecordType::SRV);
        tell(&mut stream, &question).await;
        let answer = hear(&mut stream).await;
        assert_eq!((answer.metadata.id, led_to(&answer).0), (question.metadata.id, 5268));
    }
}

#[tokio::test]
async fn a_connection_that_asks_nothing_readable_is_closed() {
    let asked = Asked::new("127.0.0.1:1");
    for bytes in [&b"\0\0"[..], b"\0\x04nope"] {
        let mut stream = TcpStream::connect(asked.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(timeout(DEADLINE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let asked = Asked::new("127.0.0.1:1");
    let mut stream = TcpStream::connect(asked.address).await.unwrap();
    assert_eq!(timeout(DEADLINE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn one_connection_more_waits_for_a_place() {
    let asked = Asked::new("127.0.0.1:1");
    let question = question(SERVER, RecordType::SRV);
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(asked.address).await.unwrap();
        tell(&mut stream, &question).await;
        hear(&mut stream).await;
        held.push(stream);
    }
    let mut one_more = TcpStream::connect(asked.address).await.unwrap();
    tell(&mut one_more, &question).await;
    for _ in 0..20 {
        asked.ask(&question).await;
    }
    assert!(one_more.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    held.pop();
    assert_eq!(led_to(&hear(&mut one_more).await).0, 1);
}
