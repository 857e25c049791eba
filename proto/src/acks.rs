//! Acknowledgements of stanzas (XEP-0198 §4): what the other side has, and what it owes us to say.

use std::collections::VecDeque;

use crate::element::Element;

/// The namespace of XEP-0198.
pub const NAMESPACE: &str = "urn:xmpp:sm:3";

/// An element of XEP-0198 that both sides of an established stream may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// `<r/>`: say how far you are.
    Request,
    /// `<a h='…'/>`: so many stanzas were taken over, counted modulo 2^32.
    Answer(u32),
    /// `<enable/>`: count from now on.
    Enable,
    /// `<enabled/>`
    Enabled,
    /// `<failed/>`: there will be no counting.
    Failed,
}

impl Ack {
    /// Reads an element of the namespace; `None` where it has no such element, or no number.
    #[must_use]
    pub fn read(element: &Element) -> Option<Self> {
        match element.name() {
            "r" => Some(Self::Request),
            "a" => element.attr("h").and_then(|h| h.trim().parse().ok()).map(Self::Answer),
            "enable" => Some(Self::Enable),
            "enabled" => Some(Self::Enabled),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }

    /// The element.
    #[must_use]
    pub fn to_element(self) -> Element {
        match self {
            Self::Request => Element::new("r", NAMESPACE),
            Self::Answer(h) => Element::new("a", NAMESPACE).with_attr("h", &h.to_string()),
            Self::Enable => Element::new("enable", NAMESPACE),
            Self::Enabled => Element::new("enabled", NAMESPACE),
            Self::Failed => Element::new("failed", NAMESPACE),
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
        let new = h.wrapping_sub(self.acknowledged) as usize;
        if new > self.waiting.len() {
            let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
            return Err(TooHigh { h, sent: self.acknowledged.wrapping_add(waiting) });
        }
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
        for ack in [Ack::Request, Ack::Answer(0), Ack::Answer(u32::MAX), Ack::Enable, Ack::Enabled, Ack::Failed] {
            let bytes = ack.to_element().to_bytes("jabber:server");
            assert_eq!(Ack::read(&Element::parse(&bytes, &Scope::SERVER).unwrap()), Some(ack));
        }
        for text in ["<a xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='-1'/>", "<x xmlns='urn:xmpp:sm:3'/>"] {
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
