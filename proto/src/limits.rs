//! Every bound of the protocol: its unit, and why it is what it is.

use std::time::Duration;

/// Bounds an operator may set (`[limits]` in the configuration).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one stanza. RFC 6120 §13.12 asks for at least 10,000.
    pub stanza_bytes: usize,
    /// Bytes that wait for one pair; beyond it the sender gets `resource-constraint`.
    pub pair_queue_bytes: usize,
    /// Bytes that wait or are unacknowledged on one host stream.
    pub host_queue_bytes: usize,
    /// Activations a second that one peer host may ask of us; the burst is five times that.
    pub activations_per_second: u32,
    /// How long a dial may take, TLS and SASL included.
    pub connect_timeout: Duration,
    /// A link that carried nothing for so long is closed.
    pub idle_timeout: Duration,
    /// How long a stanza waits for its host or its pair before `remote-server-timeout`.
    pub stanza_wait: Duration,
    /// How long a stanza waits for a domain of ours whose link is down.
    pub local_link_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_bytes: 256 << 10,
            pair_queue_bytes: 1 << 20,
            host_queue_bytes: 64 << 20,
            activations_per_second: 2000,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            stanza_wait: Duration::from_secs(30),
            local_link_grace: Duration::from_secs(10),
        }
    }
}

/// Bytes of one control element: a chain of six 16 KiB certificates in base64 fits.
pub const CONTROL_BYTES: usize = 128 << 10;
/// Bytes of a stream header or a negotiation element from somebody who is not authenticated yet.
pub const UNAUTHENTICATED_BYTES: usize = 16 << 10;
/// Bytes that a server of classic S2S may send in all before it has proved a domain: two headers, SASL and
/// some keys.
pub const UNAUTHENTICATED_TOTAL: u64 = 64 << 10;
/// Bytes of the language of a stream: it is added to each of its stanzas that states none. Tags of
/// 35 bytes are the longest that are in use (BCP 47 §4.4.1).
pub const LANGUAGE_BYTES: usize = 64;
/// Characters of the text of a peer's stream error that are kept, for the log and the status page.
pub const ERROR_TEXT_CHARS: usize = 512;
/// Depth of nested elements in a stanza; real ones stay below 30.
pub const DEPTH: usize = 128;
/// Attributes of one element, namespace declarations included.
pub const ATTRIBUTES: usize = 256;
/// Bytes of one element or attribute name.
pub const NAME_BYTES: usize = 1024;
/// Namespace declarations in scope at once.
pub const NAMESPACES: usize = 512;
/// A stanza over its limit is skipped up to this many times the limit; an endless one ends the stream.
pub const SKIP_FACTOR: usize = 64;
/// Connections on which nobody has shown yet who it is, per kind of listener; one more waits to be accepted.
pub const HANDSHAKES: usize = 1024;
/// Of these, from one network (an IPv4 address, or 64 bits of IPv6); one more is closed at once. A peer host
/// needs one, and a second where it dials anew.
pub const HANDSHAKES_OF_ONE_NETWORK: usize = 64;
/// Bytes that wait for one of our servers; beyond it stanzas are handed back as `overflow`.
pub const LOCAL_QUEUE_BYTES: usize = 32 << 20;
/// Bytes that wait for one of our servers from which its peers are asked to hold; the rest of
/// [`LOCAL_QUEUE_BYTES`] is for what they have sent before they hear of it.
pub const HOLD_BYTES: usize = 4 << 20;
/// Bytes up to which a frame is copied out of what it was read with, 64 KiB at most: what waits costs no more
/// than four times the bytes by which it counts.
pub const COPIED_BYTES: usize = 16 << 10;
/// Activations that may be pending on one link at once, per direction of asking.
pub const PENDING_ACTIVATIONS: usize = 1024;
/// Runs that we ask for at once on one link; more would only wait in the peer's queue.
pub const CONCURRENT_RUNS: usize = 64;
/// A pending activation ends after this.
pub const ACTIVATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Who lost the glare asks again where no request came in this time.
pub const GLARE_WAIT: Duration = Duration::from_secs(5);
/// What a peer is asked to wait for, in seconds, where we cannot serve it now: a look-up that failed,
/// a run that took too long.
pub const BUSY_SECONDS: u32 = 5;
/// Refusals and look-ups that failed are remembered for this.
pub const FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// Look-ups of one of our domains, or for one peer host, that wait for their turn. A room that tells all
/// its occupants something after a restart asks for a few hundred names at once.
pub const WAITING_LOOKUPS: usize = 4096;
/// Look-ups that wait, of all: what they cost, some 2 KiB each, stays below 64 MiB.
pub const ALL_WAITING_LOOKUPS: usize = 1 << 15;
/// Hosts that are dialled at once: each costs descriptors for as long as `connect_timeout`, and anybody
/// can publish names of hosts that swallow everything. One more is tried again after its pause.
pub const DIALS: usize = 256;
/// Operations that wait for the crypto pool, of one peer: of its own runs and ours each has one at a time, and
/// as many certificates again. Of more, the activation is refused as busy.
pub const CRYPTO_WAITING: usize = 2 * (PENDING_ACTIVATIONS + CONCURRENT_RUNS);
/// Bytes of these, which are the chains that the peer shows: of the longest, 64 fit.
pub const CRYPTO_WAITING_BYTES: usize = 64 * CONTROL_BYTES;
/// Dialback keys that are verified at once by asking back, of all streams: each dials, on the word of a stranger.
pub const CHECKS: usize = 256;
/// Servers of one domain that are tried in one dial by classic S2S: each may take `connect_timeout` twice, and
/// holds one of [`DIALS`] meanwhile; anybody can publish a hundred records that lead nowhere.
pub const CANDIDATES: usize = 8;
/// A probe of a link is answered in this time, or the link is dead.
pub const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Links of one peer host that may wait to be chosen; of more, the oldest gives way. Two dials at once
/// make two.
pub const READY_LINKS: usize = 4;
/// The first pause after a dial that failed; it doubles each time, and jitter takes up to half of it, so
/// that the peers of a host that restarts do not come back all at once.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between dials: a host that is back is found within a minute, and one that is gone
/// costs its look-up and its SYN once a minute.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause before a server of classic S2S is dialled again; there are many more of them than hosts.
pub const LONGEST_SERVER_PAUSE: Duration = Duration::from_secs(300);
/// A link that lived for less does not count as a success: dialling it again at once could go round in
/// circles.
pub const SETTLED: Duration = Duration::from_secs(10);
/// A stanza that our server has not been seen to read is acknowledged to the peer host after this all the same:
/// it is ours then (protocol §8).
pub const TAKE_OVER: Duration = Duration::from_secs(1);
/// Bytes of stanzas that our servers have not been seen to read, of one host stream: of more, the oldest are
/// acknowledged. A sixteenth of what a peer may have unacknowledged by default.
pub const TAKE_OVER_BYTES: usize = 4 << 20;
/// Stanzas after which an acknowledgement is asked for, and bytes: often enough that copies do not pile up,
/// and seldom enough to cost nothing.
pub const ASK_AFTER: (u64, usize) = (256, 128 << 10);
/// Time after which an acknowledgement is asked for, however little was sent.
pub const ASK_WITHIN: Duration = Duration::from_millis(250);
/// A peer host that was not heard for so long is asked for a sign of life.
pub const SILENCE: Duration = Duration::from_secs(5);
/// A peer host that was asked and not heard for so long is gone; with [`SILENCE`] and a dial, a link that
/// carries nothing any more is replaced within 15 seconds.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// A peer host that was heard, and has not answered for so long, does not know what it is asked.
pub const UNANSWERED: Duration = Duration::from_secs(60);
/// How long the session of a lost link waits for another one: a restart or an outage of some minutes. Then its
/// unacknowledged stanzas are bounced, and its pairs forgotten.
pub const SESSION_LIFE: Duration = Duration::from_secs(300);
/// Reports about undelivered stanzas that a peer host has not been seen to read.
pub const UNREAD_REPORTS: usize = 1 << 18;
/// Pings that wait for a session to be resumed.
pub const WAITING_PINGS: usize = 64;
/// Pairs in one `<resume-pairs/>`; an element with fewer ends the list.
pub const RESUMED_AT_ONCE: usize = 1000;
/// Who was dialled waits so long for the peer to say whether it counts; the other's first element says so.
pub const LISTEN_WAIT: Duration = Duration::from_secs(30);
/// Who resumes a session and hears nothing about its pairs for so long activates them afresh.
pub const RESUME_WAIT: Duration = Duration::from_secs(5);
/// Pairs on one link; a record of each is kept.
pub const PAIRS: usize = 1 << 20;
/// Pairs that a peer has asked for and nobody has proved; of more, the oldest are forgotten.
pub const UNPROVEN_PAIRS: usize = 4 * PENDING_ACTIVATIONS;
/// Domains that a peer may hold at once; holds of more are not heard.
pub const HELD_DOMAINS: usize = 1 << 16;
/// How long a verdict on a dialback key may take: the other side looks names up and connects for it.
pub const DIALBACK_WAIT: Duration = Duration::from_secs(30);
/// A server that offers acknowledgements has this many times the time that a stanza may wait; one that does not
/// acknowledge by then has not taken what it was sent.
pub const ACKNOWLEDGED_WITHIN: u32 = 2;
/// Remote domains that one classic stream may prove; each is a name and a check of its own.
pub const PROVED_DOMAINS: usize = 4096;
/// Checks of dialback keys under way for one classic stream: each looks names up and connects, on the word
/// of somebody who may have proved nothing yet.
pub const PENDING_CHECKS: usize = 64;
/// Pairs that we send on one classic stream; a queue and a name each.
pub const SENDING_PAIRS: usize = 1 << 14;
