//! `<resume-pairs/>` and `<resumed-pairs/>` (protocol §6).

use super::{base64, new, read_base64, read_id};
use crate::element::Element;
use crate::limits::RESUMED_AT_ONCE;
use crate::transcript::Tag;

/// Says that a refused pair is refused, in place of its tag.
const REFUSED: Tag = [0; 16];

/// `<resume-pairs/>`: activations of the session's, each with a proof that its secret is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePairs {
    /// Correlates the answer.
    pub id: String,
    /// At most [`RESUMED_AT_ONCE`]; fewer end the list.
    pub claims: Vec<Claim>,
}

/// A pair that is to be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Names the activation.
    pub rid: [u8; 16],
    /// tag_1.
    pub tag: Tag,
}

/// `<resumed-pairs/>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedPairs {
    /// The question's id.
    pub id: String,
    /// tag_2 of each claim, in order; `None`: refused.
    pub tags: Vec<Option<Tag>>,
}

impl ResumePairs {
    pub(super) fn read(element: &Element) -> Option<Self> {
        let claims = read_entries::<32>(element)?.map(|entry| {
            let (mut rid, mut tag) = ([0; 16], Tag::default());
            rid.copy_from_slice(&entry[..16]);
            tag.copy_from_slice(&entry[16..]);
            Claim { rid, tag }
        });
        Some(Self { id: read_id(element)?, claims: claims.collect() })
    }

    pub(super) fn write(&self) -> Element {
        let bytes: Vec<u8> = self.claims.iter().flat_map(|claim| [claim.rid, claim.tag]).flatten().collect();
        new("resume-pairs").with_attr("id", self.id.as_str()).with_text(&base64(&bytes))
    }
}

impl ResumedPairs {
    pub(super) fn read(element: &Element) -> Option<Self> {
        let tags = read_entries::<16>(element)?.map(|tag| Some(tag).filter(|tag| *tag != REFUSED));
        Some(Self { id: read_id(element)?, tags: tags.collect() })
    }

    pub(super) fn write(&self) -> Element {
        let bytes: Vec<u8> = self.tags.iter().flat_map(|tag| tag.unwrap_or(REFUSED)).collect();
        new("resumed-pairs").with_attr("id", self.id.as_str()).with_text(&base64(&bytes))
    }
}

fn read_entries<const N: usize>(element: &Element) -> Option<impl Iterator<Item = [u8; N]>> {
    let bytes = read_base64(element.text(), 0..=N * RESUMED_AT_ONCE)?;
    if bytes.len() % N != 0 {
        return None;
    }
    let entries: Vec<[u8; N]> = bytes.chunks_exact(N).filter_map(|entry| entry.try_into().ok()).collect();
    Some(entries.into_iter())
}
