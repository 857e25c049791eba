//! What the status page says of a stream's pairs, and of what waits for them.

use std::collections::HashMap;
use std::time::Instant;

use actix::{Handler, Message, MessageResult};
use heteronym_proto::classic::stream::PairTraffic;
use heteronym_proto::pair::Pair;

use super::ClassicStream;

/// The pairs of a stream, and what they have sent and got there.
#[derive(Message)]
#[rtype(result = "HashMap<Pair, PairTraffic>")]
pub struct GetPairs;

impl Handler<GetPairs> for ClassicStream {
    type Result = MessageResult<GetPairs>;

    fn handle(&mut self, GetPairs: GetPairs, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.link.as_ref().map(|link| link.wired.borrow().stream.traffic()).unwrap_or_default())
    }
}

/// What waits on a stream, by pair: how many, their bytes, and since when the oldest waits.
#[derive(Message)]
#[rtype(result = "Vec<(Pair, usize, usize, Instant)>")]
pub struct GetQueues;

impl Handler<GetQueues> for ClassicStream {
    type Result = Vec<(Pair, usize, usize, Instant)>;

    fn handle(&mut self, GetQueues: GetQueues, _: &mut Self::Context) -> Self::Result {
        let Some(link) = &self.link else { return Vec::new() };
        let wired = link.wired.borrow();
        wired.stream.queues().map(|(pair, count, bytes, since)| (pair.clone(), count, bytes, since)).collect()
    }
}
