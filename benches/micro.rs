//! `cargo bench -p heteronym-bench --bench micro`: the steps of a stanza's way, and of an activation, each by itself.
//!
//! One iteration is one stanza, element, look-up or operation. Where the machine is too noisy for time,
//! `benches/instructions` counts instructions.

use std::hint::black_box;
use std::sync::Arc;

use actix_rt::{Arbiter, System};
use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use heteronym::demo::authority::KeyKind;
use heteronym_bench::ground::{Ground, Plan};
use heteronym_net::clock::Now;
use heteronym_net::keys::{DomainKey, FileKey, KemKey, seal_kem, verify};
use heteronym_proto::batch::Batch;
use heteronym_proto::checker::{Scope, Shapes, check};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::mux::Mux;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::remembered::Remembered;
use heteronym_proto::routes::{Route, Routes};
use heteronym_proto::stanza::Stanzas;

fn main() {
    divan::main();
}

/// Bytes of a block, as it is read from a socket.
const BLOCK: usize = 64 << 10;
const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// Stanzas that are measured.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// 200 bytes: a message with a body.
    Short,
    /// The same with 1,024 bytes.
    Long,
    /// What clients send: chat states, receipts, an origin's id.
    Rich,
}

const KINDS: [Kind; 3] = [Kind::Short, Kind::Long, Kind::Rich];

impl Kind {
    fn stanza(self) -> Vec<u8> {
        let head = "<message id='0000000001' type='chat' from='jose@saramago.lit/tower' to='fernando@pessoa.lit/desk'>";
        let fill = |bytes: usize| "x".repeat(bytes - head.len() - "<body></body></message>".len());
        let content = match self {
            Self::Short => format!("<body>{}</body>", fill(200)),
            Self::Long => format!("<body>{}</body>", fill(1024)),
            Self::Rich => "<body>Where is the book?</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
                <request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='4711'/>"
                .to_owned(),
        };
        format!("{head}{content}</message>").into_bytes()
    }

    /// As many as a block has room for.
    fn block(self) -> (usize, Vec<u8>) {
        let stanza = self.stanza();
        let count = BLOCK / stanza.len();
        (count, stanza.repeat(count))
    }
}

/// A block of stanzas, each checked where it stands; the time is that of the whole block.
#[divan::bench(args = KINDS)]
fn stanzas(bencher: Bencher<'_, '_>, kind: Kind) {
    let ((count, block), mut shapes) = (kind.block(), Shapes::default());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let (mut at, mut read) = (0, 0);
        while at < block.len() {
            let mut stanzas = Stanzas::new(black_box(&block[at..]), &Scope::SERVER, &mut shapes);
            read += stanzas.by_ref().inspect(|stanza| _ = black_box(stanza.to_domain().len())).count();
            at += stanzas.taken();
        }
        assert_eq!(read, count);
    });
}

/// A block of stanzas, cut by the framer.
#[divan::bench(args = KINDS)]
fn framer(bencher: Bencher<'_, '_>, kind: Kind) {
    let (count, block) = kind.block();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut framer = Framer::new(BLOCK);
        framer.push(BytesMut::from(HEADER));
        framer.push(BytesMut::from(&block[..]));
        let frames = std::iter::from_fn(|| framer.next_frame().ok().flatten());
        assert_eq!(frames.filter(|frame| matches!(frame, Frame::Element(_))).count(), count);
    });
}

/// One stanza, as the checker reads it.
#[divan::bench(args = KINDS)]
fn checker(bencher: Bencher<'_, '_>, kind: Kind) {
    let stanza = kind.stanza();
    let bytes = BytesCount::of_slice(&stanza);
    bencher.counter(bytes).bench_local(|| assert!(check(black_box(&stanza), &Scope::SERVER).is_ok()));
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// One of many routes.
#[divan::bench(args = [1, 64, 10_000, 1_000_000])]
fn route(bencher: Bencher<'_, '_>, pairs: usize) {
    let (routes, link): (Routes<(), ()>, _) = (Routes::default(), Arc::new(()));
    let domains: Vec<_> = (0..pairs).map(|n| (format!("d{n}.saramago.lit"), format!("d{n}.pessoa.lit"))).collect();
    for (slot, (local, remote)) in (0..).zip(&domains) {
        routes.insert(Pair { local: name(local), remote: name(remote) }, Route::Link { link: Arc::clone(&link), slot });
    }
    let mut next = domains.iter().cycle();
    bencher.bench_local(|| {
        let (local, remote) = next.next().expect("a cycle");
        assert!(matches!(routes.find(local, remote), Some((_, Route::Link { .. }))));
    });
}

/// One of many pairs whose stanzas went by before; each of their domains has as many pairs as there are domains. Of the
/// last, there are more than are remembered.
#[divan::bench(args = [1, 64, 10_000, 100_000])]
fn remembered(bencher: Bencher<'_, '_>, pairs: usize) {
    let (mut remembered, side) = (Remembered::default(), pairs.isqrt());
    let domains: Vec<_> =
        (0..pairs).map(|n| (format!("d{}.saramago.lit", n / side), format!("d{}.pessoa.lit", n % side))).collect();
    let pair = |(local, remote): &(String, String)| Pair { local: name(local), remote: name(remote) };
    let all: Vec<_> = domains.iter().map(pair).collect();
    let mut next = domains.iter().zip(&all).cycle();
    let mut look = || {
        let ((local, remote), pair) = next.next().expect("a cycle");
        if remembered.find((local, remote)).is_none() {
            remembered.remember(pair, (0_u32, 0_u32));
        }
    };
    (0..pairs).for_each(|_| look());
    bencher.bench_local(look);
}

/// Stanzas into the queues of so many pairs and out of them, until a block is full; the time is that of the block.
#[divan::bench(args = [1, 64, 10_000])]
fn mux(bencher: Bencher<'_, '_>, pairs: usize) {
    let (count, _) = Kind::Short.block();
    let (stanza, now) = (Bytes::from(Kind::Short.stanza()), Now::read().instant);
    let mut mux: Mux = Mux::new(usize::MAX / 2, usize::MAX / 2);
    let slots: Vec<_> = (0..pairs).map(|_| mux.add()).collect();
    slots.iter().for_each(|slot| mux.open(*slot));
    let (mut next, mut out) = (slots.iter().cycle(), BytesMut::with_capacity(2 * BLOCK));
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for slot in next.by_ref().take(count) {
            mux.push(*slot, stanza.clone(), (), now).expect("there is room");
        }
        out.clear();
        mux.fill(&mut out, 2 * BLOCK, |_, parcel| drop(black_box(parcel)));
        assert_eq!(out.len(), count * stanza.len());
    });
}

/// A batch from one I/O thread to another and back.
#[divan::bench]
fn batch_hop(bencher: Bencher<'_, '_>) {
    let (count, _) = Kind::Short.block();
    let stanza = Kind::Short.stanza();
    let batch: Batch<u64> = (0..count as u64).map(|n| (n, &stanza)).collect();
    let system = System::new();
    let arbiter = Arbiter::new();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let (there, (done, arrived)) = (batch.clone(), tokio::sync::oneshot::channel());
        arbiter.spawn(async move {
            let _ = done.send(there.len());
        });
        assert_eq!(system.block_on(arrived), Ok(count));
    });
    arbiter.stop();
}

/// The keys of certificates, as `load --mode activate` names them.
const KEYS: [(&str, KeyKind); 2] = [("rsa2048", KeyKind::Rsa2048), ("p256", KeyKind::P256)];
const KEY_NAMES: [&str; 2] = [KEYS[0].0, KEYS[1].0];
/// Bytes of a message that is signed: a request with names, fingerprints and ciphertext.
const MESSAGE: [u8; 600] = [7; 600];
const LABEL: [u8; 32] = [8; 32];

fn domain_key(name: &str) -> FileKey {
    let (_, key) = KEYS.into_iter().find(|(known, _)| *known == name).expect("one of them");
    let ground = Ground::prepare(&Plan { key, ..Plan::for_pairs(1) }).expect("certificates");
    FileKey::load(&ground.certificate(&ground.domains[0][0])).expect("a key")
}

#[divan::bench(args = KEY_NAMES)]
fn activation_sign(bencher: Bencher<'_, '_>, kind: &str) {
    let key = domain_key(kind);
    bencher.bench_local(|| key.sign(black_box(&MESSAGE)).expect("a signature"));
}

#[divan::bench(args = KEY_NAMES)]
fn activation_verify(bencher: Bencher<'_, '_>, kind: &str) {
    let key = domain_key(kind);
    let signature = key.sign(&MESSAGE).expect("a signature");
    bencher.bench_local(|| verify(&key.chain()[0], black_box(&MESSAGE), &signature).expect("it is right"));
}

#[divan::bench]
fn activation_seal(bencher: Bencher<'_, '_>) {
    let key = KemKey::generate();
    bencher.bench_local(|| seal_kem(key.public(), &LABEL, black_box(&[9; 32])).expect("sealed"));
}

#[divan::bench]
fn activation_open(bencher: Bencher<'_, '_>) {
    let key = KemKey::generate();
    let sealed = seal_kem(key.public(), &LABEL, &[9; 32]).expect("sealed");
    bencher.bench_local(|| key.open(&LABEL, black_box(&sealed)).expect("opened"));
}
