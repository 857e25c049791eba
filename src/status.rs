//! What the admin interface tells about the running router: the document behind `/api/status`.
//!
//! Names and words here are a contract with whoever reads that document.

mod page;
mod query;
mod queue;
mod table;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::AttachKind;

pub use page::Page;
pub use query::{QueryError, query};
pub use queue::{QueuePlace, QueueStatus, Queues};
pub use table::tables;

/// The whole document, with one page of the pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The XMPP host's name.
    pub host: String,
    /// The version of heteronym.
    pub version: String,
    /// Whole seconds since the start.
    pub uptime_seconds: u64,
    /// Every peer host there is a connection to, or an attempt at one.
    pub hosts: Vec<HostStatus>,
    /// The pairs of the page that was asked for.
    pub pairs: Vec<PairStatus>,
    /// The number of pairs on all pages.
    pub pairs_total: usize,
    /// Every `[[local]]`.
    pub locals: Vec<LocalStatus>,
    /// Domains of ours that are refused because of their certificates.
    #[serde(default)]
    pub refused: Vec<RefusedDomain>,
}

/// A domain of ours that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedDomain {
    /// Which.
    pub domain: String,
    /// Why.
    pub why: String,
}

/// One peer host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// How far the connection is.
    pub state: HostState,
    /// The other end as `address:port`, once there is one.
    pub address: Option<String>,
    /// Who dialled, once there is a connection.
    pub dialled_by: Option<Dialler>,
    /// Pairs that are usable now.
    pub pairs_active: usize,
    /// Stanzas received.
    pub stanzas_in: u64,
    /// Stanzas sent.
    pub stanzas_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Stanzas sent that the peer has not acknowledged.
    pub unacknowledged: u64,
    /// Bytes that wait for the connection.
    pub queued_bytes: u64,
    /// Why it is not as it should be, in words and with what was tried.
    pub last_error: Option<String>,
}

/// One domain pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairStatus {
    /// Our domain.
    pub local: String,
    /// The other domain.
    pub remote: String,
    /// The peer host, once it is known and there is one.
    pub host: Option<String>,
    /// How far the pair is.
    pub state: PairState,
    /// Which way its stanzas take.
    pub via: Via,
    /// Stanzas from the remote domain.
    pub stanzas_in: u64,
    /// Stanzas to the remote domain.
    pub stanzas_out: u64,
    /// When it became active.
    pub activated_at: Option<Timestamp>,
    /// When the activation ends unless it is renewed.
    pub expires_at: Option<Timestamp>,
    /// Why it is not as it should be, in words and with what was tried.
    pub last_error: Option<String>,
}

/// One of our own servers, gateways or bots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStatus {
    /// Its name in the configuration.
    pub name: String,
    /// How it is attached.
    pub kind: AttachKind,
    /// Whether it is.
    pub state: LocalState,
    /// What it serves.
    pub domains: Vec<String>,
    /// Stanzas from it.
    pub stanzas_in: u64,
    /// Stanzas to it.
    pub stanzas_out: u64,
    /// Why it is not as it should be, in words and with what was tried.
    pub last_error: Option<String>,
}

/// An enumeration whose values are lower-case words, the same in documents, tables and metric labels.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])* #[serde(rename = $word)] $value,)+
        }

        impl $name {
            /// Every value, for who counts them.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How far a connection to a peer host is.
    HostState {
        /// Being dialled.
        Connecting = "connecting",
        /// TLS, SASL and the choice of one link.
        Negotiating = "negotiating",
        /// In use.
        Active = "active",
        /// Failed, and tried again later.
        Waiting = "waiting",
        /// Ending in good order.
        Draining = "draining",
    }
}

words! {
    /// How far a pair is.
    PairState {
        /// Its host is being looked up.
        Resolving = "resolving",
        /// An activation is under way.
        Requested = "requested",
        /// In use.
        Active = "active",
        /// Refused, by either side.
        Refused = "refused",
        /// Ending in good order.
        Draining = "draining",
    }
}

words! {
    /// Whether one of our own servers is attached.
    LocalState {
        /// It is.
        Up = "up",
        /// It is being dialled.
        Connecting = "connecting",
        /// It is not.
        Down = "down",
    }
}

words! {
    /// Which way a pair's stanzas take.
    Via {
        /// The host stream.
        Federation = "federation",
        /// An S2S stream of their own.
        Classic = "classic",
        /// Inside this router, since both domains are ours.
        Local = "local",
    }
}

words! {
    /// Who dialled a connection.
    Dialler {
        /// This router.
        Us = "us",
        /// The peer host.
        Them = "them",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A router with one of everything, and `n` pairs.
    pub(crate) fn example(n: usize) -> Status {
        let active = "2026-11-22T17:00:00Z".parse().ok();
        let pair = |n| PairStatus {
            local: "saramago.lit".into(),
            remote: format!("d{n}.pessoa.lit"),
            host: Some("xmpp.other.isp".into()),
            state: PairState::Active,
            via: Via::Federation,
            stanzas_in: 1,
            stanzas_out: 2,
            activated_at: active,
            expires_at: None,
            last_error: None,
        };
        Status {
            host: "xmpp.my.isp".into(),
            version: "0.1.0".into(),
            uptime_seconds: 90_061,
            hosts: vec![HostStatus {
                name: "xmpp.other.isp".into(),
                state: HostState::Waiting,
                address: None,
                dialled_by: Some(Dialler::Us),
                pairs_active: 3,
                stanzas_in: 4,
                stanzas_out: 5,
                bytes_in: 6,
                bytes_out: 7,
                unacknowledged: 8,
                queued_bytes: 2048,
                last_error: Some("192.0.2.7:5270 did not answer within 10s".into()),
            }],
            pairs: (0..n).map(pair).collect(),
            pairs_total: n,
            locals: vec![LocalStatus {
                name: "prosody-1".into(),
                kind: AttachKind::DialComponent,
                state: LocalState::Up,
                domains: vec!["saramago.lit".into(), "chat.saramago.lit".into()],
                stanzas_in: 9,
                stanzas_out: 10,
                last_error: None,
            }],
            refused: vec![RefusedDomain { domain: "ft.saramago.lit".into(), why: "it expired".into() }],
        }
    }

    #[test]
    fn the_document_has_the_names_of_the_contract() {
        let document = serde_json::to_value(example(1)).unwrap();
        let expected = serde_json::json!({
            "host": "xmpp.my.isp", "version": "0.1.0", "uptime_seconds": 90061,
            "hosts": [{"name": "xmpp.other.isp", "state": "waiting", "address": null, "dialled_by": "us",
                "pairs_active": 3, "stanzas_in": 4, "stanzas_out": 5, "bytes_in": 6, "bytes_out": 7,
                "unacknowledged": 8, "queued_bytes": 2048, "last_error": "192.0.2.7:5270 did not answer within 10s"}],
            "pairs": [{"local": "saramago.lit", "remote": "d0.pessoa.lit", "host": "xmpp.other.isp", "state": "active",
                "via": "federation", "stanzas_in": 1, "stanzas_out": 2, "activated_at": "2026-11-22T17:00:00Z",
                "expires_at": null, "last_error": null}],
            "pairs_total": 1,
            "locals": [{"name": "prosody-1", "kind": "dial-component", "state": "up",
                "domains": ["saramago.lit", "chat.saramago.lit"], "stanzas_in": 9, "stanzas_out": 10,
                "last_error": null}],
            "refused": [{"domain": "ft.saramago.lit", "why": "it expired"}],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn words_are_those_of_the_contract() {
        let words = |all: &[&str]| all.join(" ");
        let hosts: Vec<_> = HostState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(words(&hosts), "connecting negotiating active waiting draining");
        let pairs: Vec<_> = PairState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(words(&pairs), "resolving requested active refused draining");
        let locals: Vec<_> = LocalState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(words(&locals), "up connecting down");
    }
}
