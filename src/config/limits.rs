//! `[limits]`: the bounds that an operator may set, within bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use heteronym_proto::limits::Limits;

use super::reader::Section;
use super::value::{duration, number, size};

pub(super) fn read(section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        stanza_bytes: section.value("stanza_bytes", size(STANZA)).unwrap_or(default.stanza_bytes),
        pair_queue_bytes: section.value("pair_queue_bytes", size(QUEUE)).unwrap_or(default.pair_queue_bytes),
        host_queue_bytes: section.value("host_queue_bytes", size(QUEUE)).unwrap_or(default.host_queue_bytes),
        activations_per_second: section
            .value("activations_per_second", number(ACTIVATIONS))
            .unwrap_or(default.activations_per_second),
        connect_timeout: section.value("connect_timeout", duration(CONNECT)).unwrap_or(default.connect_timeout),
        idle_timeout: section.value("idle_timeout", duration(IDLE)).unwrap_or(default.idle_timeout),
        stanza_wait: section.value("stanza_wait", duration(WAIT)).unwrap_or(default.stanza_wait),
        local_link_grace: section.value("local_link_grace", duration(WAIT)).unwrap_or(default.local_link_grace),
    }
}

/// RFC 6120 §13.12 asks for 10,000 bytes; a stanza is held in memory whole, hence an end.
const STANZA: RangeInclusive<u64> = 10_000..=64 << 20;
/// From nothing that waits to what a large machine can hold.
const QUEUE: RangeInclusive<u64> = 1..=1 << 40;
const ACTIVATIONS: RangeInclusive<u32> = 1..=1_000_000;
/// Above five minutes a dial that hangs would outlive every stanza that waits for it.
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);
/// Zero means that nothing waits.
const WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);
