//! Stanzas and their bytes, counted for the metrics where nothing else is in the way.

use crate::stanza::Kind;

/// What went one way since it was taken last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// By kind, in the order of [`Traffic::KINDS`].
    pub stanzas: [u64; 3],
    /// Of the stanzas alone.
    pub bytes: u64,
}

impl Traffic {
    /// The kinds in the order of the counts.
    pub const KINDS: [Kind; 3] = [Kind::Message, Kind::Presence, Kind::Iq];

    /// Counts a stanza that is right for a stream: without a prefix, and nothing before it.
    pub fn count(&mut self, stanza: &[u8]) {
        let kind = match stanza.get(1) {
            Some(b'm') => 0,
            Some(b'p') => 1,
            Some(_) | None => 2,
        };
        self.stanzas[kind] += 1;
        self.bytes += stanza.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_count() {
        let mut traffic = Traffic::default();
        for stanza in ["<message/>", "<presence/>", "<iq/>", "<message>x</message>"] {
            traffic.count(stanza.as_bytes());
        }
        assert_eq!(traffic, Traffic { stanzas: [2, 1, 1], bytes: 46 });
    }
}
