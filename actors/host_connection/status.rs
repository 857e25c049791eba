//! What the status page says of a connection and its pairs.

use std::collections::HashMap;

use actix::{Handler, Message};
use heteronym_proto::host_stream::HostStream;
use heteronym_proto::pairs::{PairRecord, PairState};
use heteronym_proto::status::{HostState, HostStatus, PairStatus, Via};

use super::HostConnection;

/// For the status page: the connection and its pairs.
#[derive(Message)]
#[rtype(result = "Option<(HostStatus, Vec<PairStatus>)>")]
pub struct GetStatus;

impl Handler<GetStatus> for HostConnection {
    type Result = Option<(HostStatus, Vec<PairStatus>)>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        let link = self.link.as_ref()?;
        let wired = link.wired.borrow();
        let (stanzas_in, stanzas_out) = (wired.stream.received(), wired.stream.sent());
        let stream = &wired.stream;
        let host = stream.peer().to_string();
        let pairs: Vec<_> = stream.records().map(|record| pair_status(record, &host)).collect();
        let state = self.state(stream);
        let status = HostStatus {
            name: host,
            state,
            address: self.address.map(|address| address.to_string()),
            dialled_by_us: self.dialled.is_some(),
            pairs_active: pairs.iter().filter(|pair| pair.state == PairState::Active).count(),
            stanzas_in,
            stanzas_out,
            bytes_in: self.bytes_in,
            bytes_out: wired.bytes_out,
            unacknowledged: stream.unacknowledged() as u64,
            queued_bytes: self.gauge.bytes(),
            last_error: self.why_ended.clone(),
        };
        Some((status, pairs))
    }
}

impl HostConnection {
    fn state(&self, stream: &HostStream) -> HostState {
        match (self.draining || self.ending, stream.is_chosen()) {
            (true, _) => HostState::Draining,
            (false, true) => HostState::Active,
            (false, false) => HostState::Negotiating,
        }
    }
}

/// For the metrics.
#[derive(Message)]
#[rtype(result = "Option<LinkTotals>")]
pub struct GetTotals;

/// Numbers of one connection.
pub struct LinkTotals {
    /// How far it is.
    pub state: HostState,
    /// How many pairs are how far.
    pub pairs: HashMap<PairState, usize>,
    /// Stanzas that the peer has not acknowledged.
    pub unacknowledged: usize,
}

impl Handler<GetTotals> for HostConnection {
    type Result = Option<LinkTotals>;

    fn handle(&mut self, GetTotals: GetTotals, _: &mut Self::Context) -> Self::Result {
        let link = self.link.as_ref()?;
        let wired = link.wired.borrow();
        let mut pairs = HashMap::new();
        for record in wired.stream.records() {
            *pairs.entry(record.state()).or_default() += 1;
        }
        let (state, unacknowledged) = (self.state(&wired.stream), wired.stream.unacknowledged());
        Some(LinkTotals { state, pairs, unacknowledged })
    }
}

fn pair_status(record: &PairRecord, host: &str) -> PairStatus {
    PairStatus {
        pair: record.pair.clone(),
        host: Some(host.to_owned()),
        state: record.state(),
        via: Via::Federation,
        stanzas_in: record.stanzas_in,
        stanzas_out: record.stanzas_out,
        activated_at: record.active.as_ref().map(|active| active.since()),
        expires_at: record.active.as_ref().map(|active| active.expires),
        last_error: record.last_error().map(str::to_owned),
    }
}
