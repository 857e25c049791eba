//! SASL DIGEST-MD5 (RFC 2831): historic, and the only mechanism of jabberd2's router.

use std::fmt::Write as _;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the server asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// For whom the secret is.
    realm: String,
    /// The server's random text.
    nonce: String,
}

/// The answer, and what the server has to say to it.
pub struct Response {
    /// What is sent.
    pub text: Zeroizing<String>,
    expected: String,
}

impl Challenge {
    /// Reads a challenge; `None` where it has no nonce, or does not offer plain authentication.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let directives = directives(text)?;
        let value = |name| directives.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let offers = |name, wanted: &str, default: bool| {
            value(name).map_or(default, |list| list.split(',').any(|one| one.trim() == wanted))
        };
        let nonce = value("nonce")?.clone();
        let fits = offers("qop", "auth", true) && offers("algorithm", "md5-sess", false);
        fits.then(|| Self { realm: value("realm").cloned().unwrap_or_default(), nonce })
    }

    /// The response of `user` with `secret` to the service `uri`; `cnonce` is random.
    #[must_use]
    pub fn respond(&self, user: &str, secret: &str, uri: &str, cnonce: &str) -> Response {
        let Self { realm, nonce } = self;
        let who = Zeroizing::new([&narrow(user)[..], b":", &narrow(realm), b":", &narrow(secret)].concat());
        let session = Md5::new().chain_update(Md5::digest(&*who)).chain_update(format!(":{nonce}:{cnonce}"));
        let session = Zeroizing::new(hex::encode(session.finalize()));
        let proof = |what: &str| {
            let what = hex::encode(Md5::digest(what));
            hex::encode(Md5::digest(format!("{}:{nonce}:00000001:{cnonce}:auth:{what}", *session)))
        };
        let response = proof(&format!("AUTHENTICATE:{uri}"));
        let mut text = Zeroizing::new(String::new());
        for (name, value) in [("username", user), ("realm", realm), ("nonce", nonce), ("cnonce", cnonce)] {
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}=\"{}\",", value.replace('\\', "\\\\").replace('"', "\\\""));
        }
        let _ = write!(text, "nc=00000001,qop=auth,digest-uri=\"{uri}\",response={response},charset=utf-8");
        Response { text, expected: proof(&format!(":{uri}")) }
    }
}

impl Response {
    /// Whether the server knows the secret too: what it says with its success.
    #[must_use]
    pub fn is_answered_by(&self, text: &str) -> bool {
        let said = directives(text).unwrap_or_default();
        let proof = said.iter().find(|(key, _)| key == "rspauth").map(|(_, value)| value.as_str());
        proof.unwrap_or_default().as_bytes().ct_eq(self.expected.as_bytes()).into()
    }
}

/// RFC 2831 §2.1.2.1: what can be written in ISO 8859-1 is hashed in it.
fn narrow(text: &str) -> Zeroizing<Vec<u8>> {
    let narrow: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    Zeroizing::new(narrow.unwrap_or_else(|| text.as_bytes().to_vec()))
}

/// `name=value` and `name="value"`, with commas between them.
fn directives(text: &str) -> Option<Vec<(String, String)>> {
    let (mut rest, mut found) = (text.trim_start_matches([' ', ',']), Vec::new());
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value.find(',').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        found.push((name.trim().to_owned(), value));
        rest = behind.trim_start_matches([' ', ',', '\t', '\r', '\n']);
    }
    Some(found)
}

/// A quoted text up to its end, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2831 §4, but for the directives that do not enter the digest.
    #[test]
    fn the_example_of_the_rfc() {
        let text =
            "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",algorithm=md5-sess,charset=utf-8";
        let challenge = Challenge::parse(text).unwrap();
        let response = challenge.respond("chris", "secret", "imap/elwood.innosoft.com", "OA6MHXh6VqTrRk");
        assert!(response.text.contains("response=d388dad90d4bbd760a152321f2143af7,"), "{}", *response.text);
        assert!(response.is_answered_by("rspauth=ea40f60335c427b5527b84dbabcdfffd"));
        for other in ["rspauth=ea40f60335c427b5527b84dbabcdfffe", "", "rspauth"] {
            assert!(!response.is_answered_by(other), "{other}");
        }
    }

    /// As jabberd2 2.7.0 has it: blanks behind the commas.
    #[test]
    fn the_router_of_jabberd2() {
        let text = "realm=\"jabberd-router\", nonce=\"rdM0le4jcyy/2RP/Vze2hg==\", qop=\"auth\", charset=utf-8, \
                    algorithm=md5-sess";
        let uri = "jabberd-router/jabberd-router";
        let response = Challenge::parse(text).unwrap().respond("jabberd", "s3cret", uri, "OLXEvPbNDuxjs9hR");
        assert!(response.text.contains("response=9bf748d1a7a5a4e1b738051c96c2c7de,"), "{}", *response.text);
        assert!(response.is_answered_by("rspauth=195990f5af3588b4771d654b190328a1"));
    }

    #[test]
    fn quotes_and_other_alphabets() {
        let challenge = Challenge::parse("nonce=\"a\\\"b\", qop=\"auth-int,auth\",algorithm=md5-sess").unwrap();
        assert_eq!(challenge, Challenge { realm: String::new(), nonce: "a\"b".to_owned() });
        assert!(challenge.respond("j\"\\", "s", "u", "c").text.starts_with("username=\"j\\\"\\\\\",realm=\"\","));
        assert_eq!(*narrow("é"), [0xe9]);
        assert_eq!(*narrow("ł"), "ł".as_bytes());
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        for text in [
            "",
            "realm=\"r\",algorithm=md5-sess",
            "nonce=\"n\"",
            "nonce=\"n\",algorithm=md5-sess,qop=\"auth-conf\"",
            "nonce=\"n,algorithm=md5-sess",
            "nonce",
        ] {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
    }
}
