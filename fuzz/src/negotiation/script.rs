//! What a peer may say that does all it should, as short words: bytes that XML cannot have.

const HEADERS: &str = "xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' id='s1' version='1.0'";
const OURS: &str = "xmpp.my.isp";
const PEER: &str = "xmpp.other.isp";

/// `data`, with each byte below 32 that is no white space as the element that it stands for.
pub(super) fn expand(data: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    for byte in data {
        match word(*byte) {
            Some(text) => script.extend_from_slice(text.as_bytes()),
            None => script.push(*byte),
        }
    }
    script
}

fn word(byte: u8) -> Option<String> {
    let header = |from, to, more| Some(format!("<stream:stream from='{from}' to='{to}' {more}{HEADERS}>"));
    let text = match byte {
        1 => return header(PEER, OURS, ""),
        2 => return header(OURS, OURS, "xmlns:db='jabber:server:dialback' "),
        3 => return header("impostor.lit", OURS, ""),
        4 => return header(PEER, "impostor.lit", "xml:lang='pt' "),
        5 => "<stream:features>",
        6 => "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>",
        7 => "<federation xmlns='urn:xmpp:federation:0'/>",
        8 => "<sm xmlns='urn:xmpp:sm:3'/>",
        11 => "<dialback xmlns='urn:xmpp:features:dialback'/>",
        12 => "<bidi xmlns='urn:xmpp:features:bidi'/>",
        14 => "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        15 => "</stream:features>",
        16 => "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        17 => "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
        18 => "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        19 => "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>",
        20 => "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>",
        21 => "</auth>",
        22 => "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        23 => "<bidi xmlns='urn:xmpp:bidi'/>",
        24 => "<result xmlns='jabber:server:dialback' from='xmpp.other.isp' to='xmpp.my.isp'>key</result>",
        25 => "</stream:stream>",
        _ => return None,
    };
    Some(text.to_owned())
}
