//! What a peer must have said before a stream is open, looked for in its frames alone.

use heteronym_proto::checker::Scope;
use heteronym_proto::element::Element;
use heteronym_proto::framer::Frame;
use heteronym_proto::header::Header;
use heteronym_proto::name::Name;

use super::party::{OURS, PEER, Role, Setting};
use super::{Did, Talk};

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";

pub(super) fn expect(first: u8, talk: &Talk) {
    let setting = Setting::of(first);
    let heard: Vec<Heard> = talk.frames.iter().map(Heard::of).collect();
    let heard = &heard[..];
    for did in &talk.did {
        match (did, setting.role) {
            (Did::StartTls, Role::Opening) => assert!(heard.last().is_some_and(|last| last.is("proceed", TLS))),
            (Did::StartTls, _) => assert!(heard.last().is_some_and(|last| last.is("starttls", TLS))),
            (Did::Open(whom), role) => {
                assert!(setting.secured || !role.is_of_hosts(), "nothing is open without TLS");
                expect_open(setting, whom.as_deref(), heard, talk);
            }
            (Did::Send(_) | Did::Restart | Did::Judge(_) | Did::Close(_), _) => (),
        }
        assert!(*did != Did::StartTls || !setting.secured, "TLS within TLS");
    }
}

fn expect_open(setting: Setting, whom: Option<&str>, heard: &[Heard], talk: &Talk) {
    let holds = match (setting.role, whom) {
        (Role::Dialling, whom) => {
            let [begin, features, success, again, last] = heard else { panic!("{heard:?}") };
            let named = [begin, again].iter().all(|header| header.from().is_none_or(|from| from == PEER));
            named
                && whom == Some(PEER)
                && features.offers("mechanisms", SASL)
                && success.is("success", SASL)
                && last.offers("federation", "urn:xmpp:federation:0")
        }
        (Role::Receiving, whom) => {
            let [begin, auth, again] = heard else { panic!("{heard:?}") };
            setting.trusted && proved(whom, begin, auth, again, talk)
        }
        (Role::Answering, Some(whom)) => {
            let [begin, .., auth, again] = heard else { panic!("{heard:?}") };
            setting.secured && setting.trusted && proved(Some(whom), begin, auth, again, talk)
        }
        (Role::Opening, Some(_)) => {
            let [.., success, _, _] = heard else { panic!("{heard:?}") };
            setting.trusted && success.is("success", SASL)
        }
        // Dialback is to prove the domains.
        (Role::Answering, None) => setting.may_go_on(),
        (Role::Opening, None) => setting.dialback && setting.may_go_on(),
    };
    assert!(holds, "{whom:?} got in: {heard:?}");
}

/// Both headers name the domain to us, its certificate was judged, and SASL went through.
fn proved(whom: Option<&str>, begin: &Heard, auth: &Heard, again: &Heard, talk: &Talk) -> bool {
    let judged = |whom: &str| talk.did.contains(&Did::Judge(whom.to_owned()));
    whom.is_some_and(judged)
        && whom != Some(OURS)
        && [begin, again].iter().all(|header| header.from() == whom && header.to() == Some(OURS))
        && auth.is("auth", SASL)
        && auth.attr("mechanism") == Some("EXTERNAL")
}

impl Setting {
    fn may_go_on(self) -> bool {
        self.secured || !self.needs_tls
    }
}

impl Role {
    fn is_of_hosts(self) -> bool {
        matches!(self, Self::Dialling | Self::Receiving)
    }
}

/// A frame, read.
#[derive(Debug)]
enum Heard {
    /// Who opens a stream, and to whom.
    Header(Option<String>, Option<String>),
    Element(Element),
    Other,
}

impl Heard {
    fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Header(bytes) => Header::parse(bytes).map_or(Self::Other, |header| {
                let name = |text: Option<String>| Some(Name::parse(&text?).ok()?.to_string());
                Self::Header(name(header.from), name(header.to))
            }),
            Frame::Element(bytes) => Element::parse(bytes, &Scope::DIALBACK).map_or(Self::Other, Self::Element),
            Frame::TooLarge { .. } | Frame::End => Self::Other,
        }
    }

    fn from(&self) -> Option<&str> {
        if let Self::Header(from, _) = self { from.as_deref() } else { None }
    }

    fn to(&self) -> Option<&str> {
        if let Self::Header(_, to) = self { to.as_deref() } else { None }
    }

    fn is(&self, element: &str, namespace: &str) -> bool {
        matches!(self, Self::Element(of) if of.is(element, namespace))
    }

    fn attr(&self, attribute: &str) -> Option<&str> {
        if let Self::Element(element) = self { element.attr(attribute) } else { None }
    }

    fn offers(&self, feature: &str, namespace: &str) -> bool {
        matches!(self, Self::Element(features) if features.child(feature, namespace).is_some())
    }
}
