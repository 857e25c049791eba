//! Cases for several parsers: the corpus and some seeds of its own, damaged at random but always alike.

use std::fs;
use std::path::Path;

/// What is well-formed here and exercises much of the grammar; the corpus has the rest.
const SEEDS: [&str; 6] = [
    "<message from='a@a.example/x' to='b@b.example' id='1' type='chat' xml:lang='pt'><body>Bom dia</body></message>",
    "<iq from='a.example' to='b.example' id='&lt;&#65;' type='get'><q xmlns='urn:q' a='1' b=\"2\"><i/>t</q></iq>",
    "<presence from='a.example' to='b.example'><p:c xmlns:p='urn:p' p:a='' a=''/><![CDATA[<x>]]> \u{1f600}</presence>",
    "<a xmlns='urn:a' xmlns:p='urn:p'><p:b xmlns:p='urn:q' p:c='d'><c xmlns=''/></p:b><p:b>x\r\ny</p:b></a>",
    "<p:a xmlns:p='urn:x&amp;' xmlns:q='urn:x&#38;' p:a='1' q:b='2'><stream:b q:c=' \t'/>&#x1F600;&quot;</p:a>",
    "<é é='è\u{300}'><中·/></é>",
];

/// What mutations put in: tokens of XML, characters at the bounds of what is legal, bytes that are no UTF-8.
const TOKENS: [&[u8]; 78] = [
    b"a",
    b"1",
    b"-",
    "\u{e9}".as_bytes(),
    "\u{1f600}".as_bytes(),
    "\u{fffd}".as_bytes(),
    b"<",
    b">",
    b"/>",
    b"</",
    b"</a>",
    b"<a>",
    b"<b/>",
    b"<!",
    b"<!--",
    b"-->",
    b"<!-- -->",
    b"<?",
    b"?>",
    b"<?x y?>",
    b"<?xml version='1.0'?>",
    b"<!DOCTYPE a>",
    b"<![CDATA[",
    b"]]>",
    b"]]",
    b"<![CDATA[ ]]>",
    b"&",
    b";",
    b"&amp;",
    b"&lt;",
    b"&x;",
    b"&#",
    b"&#x",
    b"&#65;",
    b"&#x20;",
    b"&#10;",
    b"&#0;",
    b"&#xFFFF;",
    b"&#xD800;",
    b"&#x110000;",
    b"&#000000000065;",
    b"'",
    b"\"",
    b"=",
    b":",
    b"/",
    b"p:",
    b" a=''",
    b" p:a=''",
    b" q:a=''",
    b" xmlns=''",
    b" xmlns='urn:p'",
    b" xmlns:p='urn:p'",
    b" xmlns:q='urn:p'",
    b" xmlns:p=''",
    b" xmlns:p='urn: p'",
    b" xmlns:xml='http://www.w3.org/XML/1998/namespace'",
    b"xmlns:xmlns",
    b"xml:",
    b"xmlns:",
    b"http://www.w3.org/XML/1998/namespace",
    b"http://www.w3.org/2000/xmlns/",
    b" xml:lang='a'",
    b" ",
    b"\t",
    b"\r",
    b"\r\n",
    b"\0",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xed\xa0\x80",
    "\u{b7}".as_bytes(),
    "\u{300}".as_bytes(),
    "\u{ffff}".as_bytes(),
    "\u{10300}".as_bytes(),
    "\u{feff}".as_bytes(),
];

/// Longer seeds take much time and show little.
const SEED_BYTES: usize = 2000;

/// Numbers that are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap_or_default()
    }

    fn one_of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.roll(list.len())]
    }
}

/// Every seed as it is.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let files = fs::read_dir(corpus).expect("there is a corpus").map(|entry| entry.expect("a file").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "xml")).collect();
    files.sort();
    let files = files.iter().map(|path| fs::read(path).expect("a file that can be read"));
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).chain(files.filter(|case| case.len() <= SEED_BYTES)).collect()
}

/// `count` damaged seeds, other ones for every `from`.
pub(crate) fn damaged(seeds: &[Vec<u8>], from: usize, count: usize) -> Vec<Vec<u8>> {
    (from..from + count).map(|number| damage(seeds, &mut Dice(number as u64))).collect()
}

fn damage(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    // Most of them are of the few that are well-formed.
    let among = if dice.roll(4) > 0 { SEEDS.len() } else { seeds.len() };
    let mut case = seeds[dice.roll(among)].clone();
    // One wound in most of them: of several, parsers see but the first.
    for _ in 0..=dice.roll(6).saturating_sub(3) {
        mutate(&mut case, seeds, dice);
    }
    case
}

fn mutate(case: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(case.len() + 1);
    let end = at + dice.roll((case.len() - at).min(12) + 1);
    match dice.roll(8) {
        0..=2 => drop(case.splice(at..at, dice.one_of(&TOKENS).iter().copied())),
        3 => drop(case.splice(at..end, dice.one_of(&TOKENS).iter().copied())),
        4 => drop(case.drain(at..end)),
        5 => case.splice(at..at, case[at..end].to_vec()).for_each(drop),
        6 => {
            let other = &seeds[dice.roll(seeds.len())];
            let start = dice.roll(other.len() + 1);
            let stop = start + dice.roll(other.len() - start + 1);
            case.splice(at..at, other[start..stop].iter().copied()).for_each(drop);
        }
        _ => {
            if let Some(byte) = case.get_mut(at) {
                *byte ^= 1 << dice.roll(8);
            }
        }
    }
}
