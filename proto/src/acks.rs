//! Acknowledgements of stanzas (XEP-0198 §4): what the other side has, and what it owes us to say.

use std::collections::VecDeque;

use crate::element::Element;
use crate::stanza_error::Condition;

/// The namespace of XEP-0198.
pub const NAMESPACE: &str = "urn:xmpp:sm:3";

/// Bytes of a session's id.
const ID_BYTES: usize = 64;

/// An element of XEP-0198 that both sides of an established stream may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// `<r/>`: say how far you are.
    Request,
    /// `<a h='…'/>`: so many stanzas were taken over, counted modulo 2^32.
    Answer(u32),
    /// `<enable/>`: count from now on; the session may be resumed on another stream where `resume` is set.
    Enable {
        /// Whether it is to be resumable.
        resume: bool,
    },
    /// `<enabled/>`
    Enabled {
        /// What the session is resumed by (§5), where it may be.
        id: Option<String>,
        /// For how many seconds at least.
        max: Option<u32>,
    },
    /// `<resume/>`: the session goes on here (§5); so many stanzas of yours have arrived.
    Resume {
        /// The session's id.
        previd: String,
        /// Counted as in [`Ack::Answer`].
        h: u32,
    },
    /// `<resumed/>`: it does.
    Resumed {
        /// The session's id.
        previd: String,
        /// Counted as in [`Ack::Answer`].
        h: u32,
    },
    /// `<failed/>`: there will be no counting, or the session is not known.
    Failed(Condition),
}

impl Ack {
    /// Reads an element of the namespace; `None` where it has no such element, or an attribute that it
    /// needs is missing or malformed.
    #[must_use]
    pub fn read(element: &Element) -> Option<Self> {
        let h = || element.attr("h").and_then(|h| h.trim().parse().ok());
        let id = |name| element.attr(name).filter(|id| (1..=ID_BYTES).contains(&id.len())).map(str::to_owned);
        match element.name() {
            "r" => Some(Self::Request),
            "a" => h().map(Self::Answer),
            "enable" => Some(Self::Enable { resume: matches!(element.attr("resume"), Some("true" | "1")) }),
            "enabled" => {
                let resume = matches!(element.attr("resume"), Some("true" | "1"));
                let max = element.attr("max").and_then(|max| max.parse().ok());
                Some(Self::Enabled { id: id("id").filter(|_| resume), max })
            }
            "resume" => Some(Self::Resume { previd: id("previd")?, h: h()? }),
            "resumed" => Some(Self::Resumed { previd: id("previd")?, h: h()? }),
            "failed" => {
                let condition = element.children().find_map(|child| Condition::parse(child.name()));
                Some(Self::Failed(condition.unwrap_or(Condition::UndefinedCondition)))
            }
            _ => None,
        }
    }

    /// The element.
    #[must_use]
    pub fn to_element(&self) -> Element {
        let new = |name| Element::new(name, NAMESPACE);
        match self {
            Self::Request => new("r"),
            Self::Answer(h) => new("a").with_attr("h", &h.to_string()),
            Self::Enable { resume: false } => new("enable"),
            Self::Enable { resume: true } => new("enable").with_attr("resume", "true"),
            Self::Enabled { id, max } => {
                let max = max.map(|max| max.to_string());
                let attributes =
                    [("id", id.as_deref()), ("resume", id.as_ref().map(|_| "true")), ("max", max.as_deref())];
                let stated = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
                stated.fold(new("enabled"), |element, (name, value)| element.with_attr(name, value))
            }
            Self::Resume { previd, h } => new("resume").with_attr("previd", previd).with_attr("h", &h.to_string()),
            Self::Resumed { previd, h } => new("resumed").with_attr("previd", previd).with_attr("h", &h.to_string()),
            Self::Failed(condition) => {
                new("failed").with_child(Element::new(condition.as_str(), crate::stanza_error::NAMESPACE))
            }
        }
    }
}

/// The other side says that it has more than it was sent (XEP-0198 §4: `handled-count-too-high`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{h} stanzas are acknowledged, and {sent} were sent")]
pub struct TooHigh {
    /// What it said.
    pub h: u32,
    /// What was sent.
    pub sent: u32,
}

/// How many stanzas a count of the other side's says beyond those that were `acknowledged`, of so many that were
/// sent since; counts go round after 2^32 - 1.
///
/// # Errors
/// [`TooHigh`] where so much was never sent, or more was acknowledged before.
pub(crate) fn news(h: u32, acknowledged: u32, unacknowledged: usize) -> Result<usize, TooHigh> {
    let new = h.wrapping_sub(acknowledged) as usize;
    if new > unacknowledged {
        let unacknowledged = u32::try_from(unacknowledged).unwrap_or(u32::MAX);
        return Err(TooHigh { h, sent: acknowledged.wrapping_add(unacknowledged) });
    }
    Ok(new)
}

/// What was sent and is not acknowledged yet, in order.
#[derive(Debug)]
pub struct Unacknowledged<T> {
    acknowledged: u32,
    waiting: VecDeque<T>,
}

impl<T> Default for Unacknowledged<T> {
    fn default() -> Self {
        Self { acknowledged: 0, waiting: VecDeque::new() }
    }
}

impl<T> Unacknowledged<T> {
    /// One more was sent.
    pub fn push(&mut self, sent: T) {
        self.waiting.push_back(sent);
    }

    /// The other side has `h` in all: gives what it has now and had not before.
    ///
    /// # Errors
    /// [`TooHigh`], and nothing is taken for acknowledged.
    pub fn acknowledge(&mut self, h: u32) -> Result<impl Iterator<Item = T>, TooHigh> {
        let new = news(h, self.acknowledged, self.waiting.len())?;
        self.acknowledged = h;
        Ok(self.waiting.drain(..new))
    }

    /// What has been sent for the longest time.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.waiting.front()
    }

    /// How many are not acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether everything is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what is not acknowledged, in order.
    pub fn take(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Scope;

    #[test]
    fn each_element_is_read_back_as_it_was_written() {
        let (previd, id) = ("some'id".to_owned(), Some("an id".to_owned()));
        for ack in [
            Ack::Request,
            Ack::Answer(0),
            Ack::Answer(u32::MAX),
            Ack::Enable { resume: false },
            Ack::Enable { resume: true },
            Ack::Enabled { id: None, max: None },
            Ack::Enabled { id, max: Some(300) },
            Ack::Resume { previd: previd.clone(), h: 7 },
            Ack::Resumed { previd, h: 0 },
            Ack::Failed(Condition::ItemNotFound),
        ] {
            let bytes = ack.to_element().to_bytes("jabber:server");
            assert_eq!(Ack::read(&Element::parse(&bytes, &Scope::SERVER).unwrap()), Some(ack));
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_no_element() {
        let long = format!("<resume xmlns='urn:xmpp:sm:3' previd='{}' h='1'/>", "x".repeat(ID_BYTES + 1));
        for text in [
            "<a xmlns='urn:xmpp:sm:3'/>",
            "<a xmlns='urn:xmpp:sm:3' h='-1'/>",
            "<a xmlns='urn:xmpp:sm:3' h='4294967296'/>",
            "<resume xmlns='urn:xmpp:sm:3' h='1'/>",
            "<resumed xmlns='urn:xmpp:sm:3' previd='' h='1'/>",
            &long,
            "<x xmlns='urn:xmpp:sm:3'/>",
        ] {
            assert_eq!(Ack::read(&Element::parse(text.as_bytes(), &Scope::SERVER).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_once() {
        let mut sent = Unacknowledged::default();
        (1..=5).for_each(|n| sent.push(n));
        let mut told = |h| sent.acknowledge(h).map(Iterator::collect::<Vec<_>>);
        assert_eq!(told(2), Ok(vec![1, 2]));
        assert_eq!(told(2), Ok(vec![]));
        assert_eq!(told(6), Err(TooHigh { h: 6, sent: 5 }));
        assert_eq!(told(1), Err(TooHigh { h: 1, sent: 5 }), "a count never goes back");
        assert_eq!(told(3), Ok(vec![3]));
        assert_eq!(sent.take(), [4, 5]);
    }

    /// XEP-0198 §4: the count begins anew after 2^32 - 1.
    #[test]
    fn the_count_goes_round() {
        let mut sent = Unacknowledged { acknowledged: u32::MAX, waiting: VecDeque::from([1, 2]) };
        assert_eq!(sent.acknowledge(1).map(Iterator::collect::<Vec<_>>), Ok(vec![1, 2]));
    }
}
