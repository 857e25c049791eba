//! Batches over plain TCP and TLS.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::{Reader, Source, Stream, Writer, join, pump, split};
use crate::testing::{Authority, Leaf};
use crate::tls::{Certificates, HostTls};

const NAME: &str = "xmpp.my.isp";

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

async fn plain() -> (Stream, Stream) {
    let (dialled, accepted) = tcp().await;
    (Stream::Plain(dialled), Stream::Plain(accepted))
}

async fn tls() -> (Stream, Stream) {
    let issued = Authority::new().issue(&Leaf::new(NAME));
    let host = HostTls::new(Arc::new(Certificates::new(NAME, Arc::new(issued.key())))).unwrap();
    let (dialled, accepted) = tcp().await;
    let (dialled, accepted) = tokio::join!(host.connect(dialled, NAME), host.accept(accepted));
    (dialled.unwrap().stream, accepted.unwrap().stream)
}

/// Stanzas that wait, as an actor's queue has them.
#[derive(Default)]
struct Queue {
    waiting: Vec<Vec<u8>>,
    closed: bool,
    fills: usize,
}

impl Source for Queue {
    fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let mut filled = 0;
        self.waiting.retain(|stanza| {
            let fits = filled < room;
            if fits {
                filled += stanza.len();
                out.extend_from_slice(stanza);
            }
            !fits
        });
        self.fills += usize::from(filled > 0);
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

struct Pump {
    queue: Rc<RefCell<Queue>>,
    wake: Rc<Notify>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Pump {
    fn start(writer: Writer) -> Self {
        let (queue, wake) = (Rc::new(RefCell::new(Queue::default())), Rc::new(Notify::new()));
        let task = tokio::task::spawn_local(pump(writer, Rc::clone(&queue), Rc::clone(&wake)));
        Self { queue, wake, task }
    }

    fn push(&self, stanza: &[u8]) {
        self.queue.borrow_mut().waiting.push(stanza.to_vec());
        self.wake.notify_one();
    }

    fn close(&self) {
        self.queue.borrow_mut().closed = true;
        self.wake.notify_one();
    }
}

async fn read_to_end(reader: &mut Reader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(batch) = reader.read().await.unwrap() {
        all.extend_from_slice(&batch);
    }
    all
}

#[tokio::test]
async fn many_small_stanzas_leave_in_few_batches_and_arrive_whole() {
    let local = async {
        for (ours, theirs) in [plain().await, tls().await] {
            let pump = Pump::start(split(ours).1);
            for _ in 0..10_000 {
                pump.push(&[b'x'; 200]);
            }
            pump.close();
            let read = read_to_end(&mut split(theirs).0).await;
            assert_eq!(read.len(), 2_000_000);
            pump.task.await.unwrap().unwrap();
            assert_eq!(pump.queue.borrow().fills, 2_000_000usize.div_ceil(super::BATCH));
        }
    };
    LocalSet::new().run_until(local).await;
}

#[tokio::test]
async fn a_lone_stanza_is_not_held_back() {
    let local = async {
        let (ours, theirs) = tls().await;
        let pump = Pump::start(split(ours).1);
        let (mut reader, _writer) = split(theirs);
        for stanza in [&b"<a/>"[..], b"<b/>"] {
            pump.push(stanza);
            assert_eq!(reader.read().await.unwrap().unwrap(), stanza);
        }
    };
    LocalSet::new().run_until(local).await;
}

#[tokio::test]
async fn a_read_takes_everything_that_is_there() {
    let (ours, theirs) = tls().await;
    let (mut reader, _) = split(theirs);
    // Three records; what fits into the socket's buffers is there before the first read.
    split(ours).1.write(&[b'x'; 40_000]).await.unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 40_000 {
        sizes.push(reader.read().await.unwrap().unwrap().len());
    }
    assert!(sizes[0] > 16_384, "more than one record at once: {sizes:?}");
}

#[tokio::test]
async fn no_batch_is_larger_than_64_kib() {
    let local = async {
        let (ours, theirs) = plain().await;
        let pump = Pump::start(split(ours).1);
        pump.push(&[b'x'; 1 << 20]);
        pump.close();
        let (mut reader, _writer) = split(theirs);
        while let Some(batch) = reader.read().await.unwrap() {
            assert!(batch.len() <= 64 << 10);
        }
    };
    LocalSet::new().run_until(local).await;
}

#[tokio::test]
async fn small_reads_share_one_block() {
    let (ours, theirs) = plain().await;
    let (mut reader, _) = split(theirs);
    let (_, mut writer) = split(ours);
    writer.write(b"<a/>").await.unwrap();
    let first = reader.read().await.unwrap().unwrap();
    writer.write(b"<b/>").await.unwrap();
    let second = reader.read().await.unwrap().unwrap();
    assert_eq!(first.as_ptr().wrapping_add(first.len()), second.as_ptr());
}

#[tokio::test]
async fn after_our_end_the_peer_can_go_on() {
    let local = async {
        for (ours, theirs) in [plain().await, tls().await] {
            let (mut our_reader, our_writer) = split(ours);
            let pump = Pump::start(our_writer);
            pump.push(b"</stream:stream>");
            pump.close();
            let (mut reader, mut writer) = split(theirs);
            assert_eq!(read_to_end(&mut reader).await, b"</stream:stream>");
            writer.write(b"<last/></stream:stream>").await.unwrap();
            writer.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut our_reader).await, b"<last/></stream:stream>");
            pump.task.await.unwrap().unwrap();
        }
    };
    LocalSet::new().run_until(local).await;
}

#[tokio::test]
async fn tls_cut_off_is_an_error_behind_the_last_bytes() {
    let (ours, theirs) = tls().await;
    let (reader, mut writer) = split(ours);
    writer.write(b"<half").await.unwrap();
    drop((reader, writer));
    let (mut reader, _writer) = split(theirs);
    assert_eq!(reader.read().await.unwrap().unwrap(), b"<half"[..]);
    assert_eq!(reader.read().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_pump_into_a_dead_connection_ends_with_its_error() {
    let local = async {
        let (ours, theirs) = plain().await;
        let pump = Pump::start(split(ours).1);
        if let Stream::Plain(tcp) = theirs {
            tcp.set_zero_linger().unwrap();
        }
        pump.push(&[b'x'; 8 << 20]);
        assert!(pump.task.await.unwrap().is_err());
    };
    LocalSet::new().run_until(local).await;
}

#[tokio::test]
async fn the_halves_of_a_plain_stream_join_for_starttls() {
    let (ours, mut theirs) = plain().await;
    let (mut reader, mut writer) = split(ours);
    theirs.write_all(b"<starttls/>").await.unwrap();
    assert_eq!(reader.read().await.unwrap().unwrap(), b"<starttls/>"[..]);
    writer.write(b"<proceed/>").await.unwrap();
    let mut tcp = join(reader, writer).unwrap();
    theirs.write_all(b"\x16").await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), 0x16);
}

#[tokio::test]
async fn strangers_and_tls_do_not_join() {
    let ((one, two), (secured, _)) = (plain().await, tls().await);
    assert!(join(split(one).0, split(two).1).is_none());
    let (reader, writer) = split(secured);
    assert!(join(reader, writer).is_none());
}
