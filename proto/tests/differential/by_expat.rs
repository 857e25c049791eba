//! What expat reads, with which most XMPP servers do.
//!
//! It is asked through Python, whose interpreter carries it: no crate has a recent expat in it, and a
//! binding would need `unsafe`.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Command, Stdio};

use crate::reading::{Reading, on_stream};

/// What expat makes of each of `cases`.
pub(crate) fn read(cases: &[Vec<u8>]) -> Vec<Reading> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/expat.py");
    let mut command = Command::new("python3");
    let mut python = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
    let (input, output) = (python.stdin.take().expect("piped"), python.stdout.take().expect("piped"));
    let readings = std::thread::scope(|scope| {
        scope.spawn(move || ask(BufWriter::new(input), cases));
        let mut output = BufReader::new(output);
        cases.iter().map(|_| answer(&mut output)).collect()
    });
    assert!(python.wait().expect("python3 ends").success());
    readings
}

fn ask(mut input: impl Write, cases: &[Vec<u8>]) {
    for stream in cases.iter().map(|case| on_stream(case)) {
        let length = u32::try_from(stream.len()).expect("cases are small");
        input.write_all(&length.to_be_bytes()).and_then(|()| input.write_all(&stream)).expect("python3 reads");
    }
}

fn answer(output: &mut impl Read) -> Reading {
    let mut length = [0; 4];
    output.read_exact(&mut length).expect("python3 answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    output.read_exact(&mut answer).expect("python3 answers");
    let answer = String::from_utf8(answer).expect("python3 answers in UTF-8");
    match answer.strip_prefix('+') {
        Some(element) => Ok(element.to_owned()),
        None => Err(answer),
    }
}
