use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::ground::Plan;
use crate::subject::Attachment;

/// Takes what comes by each of the links and gives it, altered by `alter`, to the other side, and back unaltered.
fn carrier(mut alter: impl FnMut(&mut Vec<u8>) + Send + 'static) -> Running {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let addresses: [SocketAddr; 2] = [0, 1].map(|side: usize| listeners[side].local_addr().unwrap());
    thread::spawn(move || {
        let [near, far] = listeners.map(|listener| listener.accept().unwrap().0);
        let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
        thread::spawn(move || carry(back.0, back.1, |_| ()));
        carry(near, far, &mut alter);
    });
    let sides = addresses.map(|address| vec![Attachment::Bare { address }]);
    Running::new(Vec::new(), sides, Vec::new(), Box::new(()))
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut alter: impl FnMut(&mut Vec<u8>)) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut bytes = buffer[..read].to_vec();
        alter(&mut bytes);
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn load(pairs: usize, alter: impl FnMut(&mut Vec<u8>) + Send + 'static) -> Load {
    let ground = Ground::prepare(&Plan::for_pairs(pairs)).unwrap();
    Load::attach(&carrier(alter), &ground, pairs, 200).unwrap()
}

fn send(load: &mut Load, way: Way, pace: Pace, stanzas: u64) -> Result<Sent, Failure> {
    load.send(&Draw::even(load.pairs()), way, pace, Until::Stanzas(stanzas), &Bar::hidden())
}

#[test]
fn all_arrive_in_a_closed_loop() {
    let mut load = load(4, |_| ());
    for stanzas in [1, 10, 5000] {
        assert_eq!(send(&mut load, Way::There, Pace::Window(256), stanzas).unwrap().stanzas, stanzas);
    }
    assert_eq!(send(&mut load, Way::There, Pace::Window(1), 10).unwrap().stanzas, 10);
}

#[test]
fn a_closed_loop_may_end_by_time() {
    let mut load = load(1, |_| ());
    let until = Until::Time(Duration::from_millis(50));
    let sent = load.send(&Draw::zipf(1), Way::There, Pace::Window(64), until, &Bar::hidden()).unwrap();
    assert!(sent.stanzas > 0 && sent.time >= Duration::from_millis(50));
}

#[test]
fn an_open_loop_takes_the_time_of_each() {
    let mut load = load(2, |_| ());
    let sent = send(&mut load, Way::There, Pace::Rate(2000.0), 100).unwrap();
    assert_eq!((sent.stanzas, sent.latency.len()), (100, 100));
    assert!(sent.time >= Duration::from_millis(49), "{:?}", sent.time);
}

#[test]
fn answers_come_back() {
    let mut load = load(4, |_| ());
    let sent = send(&mut load, Way::AndBack, Pace::Rate(2000.0), 100).unwrap();
    assert_eq!((sent.stanzas, sent.latency.len()), (100, 100));
}

#[test]
fn each_of_the_pairs_is_activated_whatever_was_sent_before() {
    let mut load = load(3, |_| ());
    send(&mut load, Way::There, Pace::Window(8), 10).unwrap();
    assert_eq!(load.activate(2, &Bar::hidden()).unwrap().stanzas, 3);
    assert_eq!(load.send_over(&[2, 0], 1, &Bar::hidden()).unwrap().stanzas, 2);
}

/// Stanzas reach a carrier whole where there is one under way at a time.
fn broken(alter: impl FnMut(u64, &mut Vec<u8>) + Send + 'static) -> String {
    let (mut count, mut alter) = (0, alter);
    let mut load = load(1, move |bytes| {
        count += 1;
        alter(count, bytes);
    });
    let failed = send(&mut load, Way::There, Pace::Window(1), 5);
    failed.err().expect("it was broken").to_string()
}

#[test]
fn a_doubled_stanza_is_found() {
    let failed = broken(|count, bytes| {
        if count == 3 {
            bytes.extend_from_within(..)
        }
    });
    assert_eq!(failed, "stanza 2 arrived twice");
}

#[test]
fn an_altered_stanza_is_found() {
    let failed = broken(|count, bytes| {
        if count == 3 {
            bytes[150] = b'y'
        }
    });
    assert!(failed.starts_with("it came back: <message id='000000000002'"), "{failed}");
}

#[test]
fn a_stanza_out_of_order_is_found() {
    // Both are in one write.
    let mut load = load(1, |bytes| bytes.rotate_left(200));
    let failed = send(&mut load, Way::There, Pace::Window(16), 2).err().map(|error| error.to_string());
    assert_eq!(failed.as_deref(), Some("stanza 0 arrived behind stanza 1 of its pair"));
}

#[test]
fn a_lost_stanza_is_found() {
    let mut count = 0;
    let mut load = load(1, move |bytes| {
        count += 1;
        if count == 2 {
            bytes.clear();
        }
    });
    load.patience = Duration::from_millis(200);
    let failed = send(&mut load, Way::There, Pace::Window(1), 4).err().map(|error| error.to_string());
    assert_eq!(failed.as_deref(), Some("1 stanzas did not arrive; the first of them: [1]"));
}
