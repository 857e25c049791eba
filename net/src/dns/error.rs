//! Why it cannot be known what a name's records are.

use std::time::Duration;

use hickory_resolver::net::{DnsError as Semantic, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;

/// Why a look-up gave no answer: there may be records or none.
///
/// Each names the question and who was asked. All but `BadName` and `Configuration` may be over in
/// a minute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// What was asked for is no domain name; the peer's or the sender's fault.
    #[error("{query}: not a domain name")]
    BadName {
        /// Type and name.
        query: String,
    },
    /// The system has no usable resolver configuration; ours to fix.
    #[error("cannot read the system's name servers ({0}): set dns.servers in the configuration")]
    Configuration(String),
    /// The name server could not find out (SERVFAIL): often a broken zone or DNSSEC.
    #[error("{query}: SERVFAIL from {servers}")]
    ServFail {
        /// Type and name.
        query: String,
        /// Who was asked.
        servers: String,
    },
    /// The name server does not serve us (REFUSED).
    #[error("{query}: refused by {servers}: does it allow questions from this machine?")]
    Refused {
        /// Type and name.
        query: String,
        /// Who was asked.
        servers: String,
    },
    /// Another answer that says neither yes nor no.
    #[error("{query}: {servers} answered {what}")]
    Unusable {
        /// Type and name.
        query: String,
        /// Who was asked.
        servers: String,
        /// What came back.
        what: String,
    },
    /// Nobody answered in time.
    #[error("{query}: no answer in time from {servers}")]
    Timeout {
        /// Type and name.
        query: String,
        /// Who was asked.
        servers: String,
    },
    /// The name servers cannot be reached.
    #[error("{query}: cannot reach {servers}: {why}")]
    Unreachable {
        /// Type and name.
        query: String,
        /// Who was asked.
        servers: String,
        /// What the system says.
        why: String,
    },
}

/// What went wrong, before it is known what was asked of whom.
pub(super) enum Why {
    Code(ResponseCode),
    Referral,
    Timeout,
    Unreachable(String),
    Other(String),
}

impl DnsError {
    pub(super) fn new(query: String, servers: &str, why: Why) -> Self {
        let servers = servers.to_owned();
        match why {
            Why::Code(ResponseCode::ServFail) => Self::ServFail { query, servers },
            Why::Code(ResponseCode::Refused) => Self::Refused { query, servers },
            Why::Code(code) => Self::Unusable { query, servers, what: code.to_string() },
            Why::Referral => {
                let what = "with a referral: it is not a recursive resolver".to_owned();
                Self::Unusable { query, servers, what }
            }
            Why::Timeout => Self::Timeout { query, servers },
            Why::Unreachable(why) => Self::Unreachable { query, servers, why },
            Why::Other(what) => Self::Unusable { query, servers, what },
        }
    }
}

/// How long the absence of records holds (`None`: the zone does not say), or why `failure` is not
/// an absence.
pub(super) fn absence(failure: NetError) -> Result<Option<Duration>, Why> {
    match failure {
        NetError::Dns(Semantic::NoRecordsFound(none)) => clean(&none),
        NetError::Dns(Semantic::ResponseCode(code)) => Err(Why::Code(code)),
        NetError::Timeout => Err(Why::Timeout),
        NetError::Io(error) => Err(Why::Unreachable(error.to_string())),
        NetError::NoConnections => Err(Why::Unreachable("no connection".to_owned())),
        // Not ours to match exhaustively: the enum is open. All of it means "cannot be known".
        other => Err(Why::Other(other.to_string())),
    }
}

fn clean(none: &NoRecords) -> Result<Option<Duration>, Why> {
    match none.response_code {
        ResponseCode::NXDomain => {}
        // An empty answer that points elsewhere is a referral: the server did not look.
        ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => return Err(Why::Referral),
        ResponseCode::NoError => {}
        code => return Err(Why::Code(code)),
    }
    Ok(none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into())))
}
