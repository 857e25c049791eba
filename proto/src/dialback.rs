//! Server dialback (XEP-0220): its elements, and its keys (XEP-0185).

use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::element::Element;
use crate::header::DIALBACK_NAMESPACE;
use crate::name::Name;
use crate::stanza_error::{Condition, NAMESPACE as STANZAS};

/// The namespace of the stream feature, and of `<errors/>` in it (XEP-0220 §2.4).
pub const FEATURE: &str = "urn:xmpp:features:dialback";
/// Bytes of a key that is looked at; those of XEP-0185 have 64.
const KEY_BYTES: usize = 1024;
/// Bytes of a stream's id that is looked at.
const ID_BYTES: usize = 256;

/// What a pair of domains is in dialback: who wants to send, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The originating domain.
    pub from: Name,
    /// The receiving domain.
    pub to: Name,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key is right.
    Valid,
    /// The key is wrong.
    Invalid,
    /// It could not be checked; the stream goes on (XEP-0220 §2.4.2).
    Error(Condition),
}

/// An element of dialback. `ends` name who speaks and who is spoken to, as the attributes do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialback {
    /// "I am `from`; this key proves it" (§2.1.1), from the initiating server.
    Result {
        /// `from` wants to send to `to`.
        ends: Ends,
        /// For `to` to have verified.
        key: String,
    },
    /// The receiving server's verdict on a key.
    Verdict {
        /// `from` judges the key of `to`.
        ends: Ends,
        /// The verdict.
        outcome: Outcome,
    },
    /// "Is this key yours?" (§2.2.1), from the receiving server to the authoritative one.
    Verify {
        /// `from` has got a key in the name of `to`.
        ends: Ends,
        /// The id of the stream that the key came on.
        id: String,
        /// The key.
        key: String,
    },
    /// The authoritative server's answer.
    Verified {
        /// `from` says whether its key for `to` is right.
        ends: Ends,
        /// The id of the question.
        id: String,
        /// The answer.
        outcome: Outcome,
    },
}

/// Why an element of dialback's namespace is none of its four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDialback {
    /// An address is missing or no domain (§2.4.1: `improper-addressing`).
    #[error("dialback needs two domains in 'from' and 'to'")]
    Addresses,
    /// Another element, or a `type` that there is not.
    #[error("neither a result nor a verification")]
    Other,
    /// A key or id is missing or too long.
    #[error("a key or an id is missing or too long")]
    Key,
}

impl Dialback {
    /// Whether `element` is in dialback's namespace.
    #[must_use]
    pub fn is(element: &Element) -> bool {
        element.namespace() == DIALBACK_NAMESPACE
    }

    /// Reads an element of dialback's namespace.
    ///
    /// # Errors
    /// [`NotDialback`], where it is none that XEP-0220 has.
    pub fn read(element: &Element) -> Result<Self, NotDialback> {
        let name = |attribute| element.attr(attribute).and_then(|text| Name::parse(text).ok());
        let (Some(from), Some(to)) = (name("from"), name("to")) else { return Err(NotDialback::Addresses) };
        let ends = Ends { from, to };
        let bounded = |text: &str, bytes| (!text.is_empty() && text.len() <= bytes).then(|| text.to_owned());
        let key = || bounded(element.text().trim(), KEY_BYTES).ok_or(NotDialback::Key);
        let id = || element.attr("id").and_then(|id| bounded(id, ID_BYTES)).ok_or(NotDialback::Key);
        let outcome = element.attr("type").map(|type_| Outcome::read(type_, element));
        match (element.name(), outcome) {
            ("result", None) => Ok(Self::Result { ends, key: key()? }),
            ("verify", None) => Ok(Self::Verify { ends, id: id()?, key: key()? }),
            ("result", Some(outcome)) => Ok(Self::Verdict { ends, outcome: outcome.ok_or(NotDialback::Other)? }),
            ("verify", Some(outcome)) => {
                Ok(Self::Verified { ends, id: id()?, outcome: outcome.ok_or(NotDialback::Other)? })
            }
            (_, _) => Err(NotDialback::Other),
        }
    }

    /// The element as it stands in a stream that binds `db`.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let element = match self {
            Self::Result { ends, key } => ends.element("result").with_text(key),
            Self::Verdict { ends, outcome } => outcome.on(ends.element("result")),
            Self::Verify { ends, id, key } => ends.element("verify").with_attr("id", id).with_text(key),
            Self::Verified { ends, id, outcome } => outcome.on(ends.element("verify").with_attr("id", id)),
        };
        element.to_bytes("jabber:server")
    }
}

impl Ends {
    /// The other way round.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone() }
    }

    fn element(&self, name: &str) -> Element {
        Element::new(name, DIALBACK_NAMESPACE).with_attr("from", self.from.as_str()).with_attr("to", self.to.as_str())
    }
}

impl Outcome {
    fn read(type_: &str, element: &Element) -> Option<Self> {
        match type_ {
            "valid" => Some(Self::Valid),
            "invalid" => Some(Self::Invalid),
            "error" => {
                let error = element.children().find(|child| child.name() == "error");
                let conditions = error.into_iter().flat_map(Element::children);
                let condition = conditions.filter(|child| child.namespace() == STANZAS);
                let condition = condition.filter_map(|child| Condition::parse(child.name())).next();
                Some(Self::Error(condition.unwrap_or(Condition::UndefinedCondition)))
            }
            _ => None,
        }
    }

    fn on(self, element: Element) -> Element {
        match self {
            Self::Valid => element.with_attr("type", "valid"),
            Self::Invalid => element.with_attr("type", "invalid"),
            Self::Error(condition) => {
                let error = Element::new("error", "jabber:server").with_attr("type", condition.error_type().as_str());
                element
                    .with_attr("type", "error")
                    .with_child(error.with_child(Element::new(condition.as_str(), STANZAS)))
            }
        }
    }
}

/// What keys are made of. Whoever has it can speak for every domain that it is used for.
#[derive(Clone)]
pub struct DialbackSecret(Zeroizing<String>);

impl DialbackSecret {
    /// From a text that several servers of a domain share, or that is random for one process.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(Zeroizing::new(hex::encode(Sha256::digest(secret.as_bytes()))))
    }

    /// The key with which `ends.from` proves itself to `ends.to` on the stream `id`, which `ends.to`
    /// made: 64 digits of lower-case hex (XEP-0185 §2).
    #[must_use]
    pub fn key(&self, ends: &Ends, id: &str) -> String {
        let text = format!("{} {} {id}", ends.to, ends.from);
        let mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).map(|mac| mac.chain_update(text));
        mac.map(|mac| hex::encode(mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// Whether `key` is the key of `ends` on the stream `id`; takes the same time for every key.
    #[must_use]
    pub fn verify(&self, ends: &Ends, id: &str, key: &str) -> bool {
        self.key(ends, id).as_bytes().ct_eq(key.as_bytes()).into()
    }
}

/// Shows nothing.
impl std::fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DialbackSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Scope;

    fn ends(from: &str, to: &str) -> Ends {
        Ends { from: Name::parse(from).unwrap(), to: Name::parse(to).unwrap() }
    }

    fn read(text: &str) -> Result<Dialback, NotDialback> {
        Dialback::read(&Element::parse(text.as_bytes(), &Scope::DIALBACK).unwrap())
    }

    /// XEP-0185 §4.
    #[test]
    fn the_example_of_xep_0185() {
        let secret = DialbackSecret::new("s3cr3tf0rd14lb4ck");
        let ends = ends("example.org", "xmpp.example.com");
        let key = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643";
        assert_eq!(secret.key(&ends, "D60000229F"), key);
        assert!(secret.verify(&ends, "D60000229F", key));
        assert!(!secret.verify(&ends.reversed(), "D60000229F", key));
        assert!(!secret.verify(&ends, "D60000229E", key));
    }

    #[test]
    fn each_element_is_read_back_as_it_was_written() {
        let ends = ends("saramago.lit", "pessoa.lit");
        let (id, key) = ("417GAF25".to_owned(), "b4835385f37fe2895af6c196b59097b1".to_owned());
        let outcomes = [Outcome::Valid, Outcome::Invalid, Outcome::Error(Condition::RemoteServerNotFound)];
        let of = |outcome| {
            let (ends, id) = (ends.clone(), id.clone());
            [Dialback::Verdict { ends: ends.clone(), outcome }, Dialback::Verified { ends, id, outcome }]
        };
        let asked = [
            Dialback::Result { ends: ends.clone(), key: key.clone() },
            Dialback::Verify { ends: ends.clone(), id: id.clone(), key },
        ];
        for element in asked.into_iter().chain(outcomes.into_iter().flat_map(of)) {
            let text = String::from_utf8(element.to_bytes().to_vec()).unwrap();
            assert!(text.starts_with("<db:"), "{text}");
            assert_eq!(read(&text), Ok(element), "{text}");
        }
    }

    #[test]
    fn what_servers_add_is_no_harm() {
        let valid = "<db:result from='saramago.lit' to='pessoa.lit' type='valid' id='cd9e'>a735</db:result>";
        let ends = ends("saramago.lit", "pessoa.lit");
        assert_eq!(read(valid), Ok(Dialback::Verdict { ends, outcome: Outcome::Valid }), "Prosody repeats key and id");
        let bare = "<db:result from='a.lit' to='b.lit' type='error'/>";
        let error = Outcome::Error(Condition::UndefinedCondition);
        assert!(matches!(read(bare), Ok(Dialback::Verdict { outcome, .. }) if outcome == error));
    }

    #[test]
    fn other_elements_are_refused() {
        use NotDialback::{Addresses, Key, Other};
        let long = format!("<db:result from='a.lit' to='b.lit'>{}</db:result>", "k".repeat(KEY_BYTES + 1));
        for (text, why) in [
            ("<db:result to='b.lit'>k</db:result>", Addresses),
            ("<db:result from='a.lit' to='::1'>k</db:result>", Addresses),
            ("<db:result from='a.lit' to='b.lit'> </db:result>", Key),
            ("<db:verify from='a.lit' to='b.lit'>k</db:verify>", Key),
            ("<db:verify from='a.lit' to='b.lit' type='valid'/>", Key),
            (&long, Key),
            ("<db:result from='a.lit' to='b.lit' type='maybe'/>", Other),
            ("<db:other from='a.lit' to='b.lit'>k</db:other>", Other),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }
}
