//! SRV records and their order (RFC 2782).

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::SRV;

/// What is published under one SRV name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvAnswer {
    /// Empty: the name or the record does not exist, cleanly (NXDOMAIN or NODATA).
    pub records: Vec<SrvRecord>,
    /// How long this holds: the smallest TTL; for an empty answer the zone's negative TTL
    /// (RFC 2308), or 60 s where there is none. As published: it may be 0 or weeks.
    pub ttl: Duration,
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share among the records of one priority.
    pub weight: u16,
    /// The TCP port.
    pub port: u16,
    /// Lower-case, without a final dot; `.` alone says that the service is not offered.
    pub target: String,
}

impl SrvRecord {
    pub(super) fn from_wire(srv: &SRV) -> Self {
        let mut target = srv.target.to_ascii().to_ascii_lowercase();
        if target.len() > 1 && target.ends_with('.') {
            target.pop();
        }
        Self { priority: srv.priority, weight: srv.weight, port: srv.port, target }
    }
}

/// The order in which to try `records`: one group per priority, each in weighted random order.
///
/// `random(bound)` gives a number from 0 to `bound - 1`; `bound` is never 0.
pub fn order(records: &[SrvRecord], random: impl FnMut(u32) -> u32) -> Vec<Vec<SrvRecord>> {
    order_by(records.to_vec(), |record| record, random)
}

/// [`order`] for records that have something beside them, such as the service that they are of.
pub fn order_by<T>(records: Vec<T>, of: impl Fn(&T) -> &SrvRecord, mut random: impl FnMut(u32) -> u32) -> Vec<Vec<T>> {
    let mut priorities: BTreeMap<u16, Vec<T>> = BTreeMap::new();
    for record in records {
        priorities.entry(of(&record).priority).or_default().push(record);
    }
    priorities.into_values().map(|group| by_weight(group, &of, &mut random)).collect()
}

/// RFC 2782's algorithm, to the letter: a running sum, and the first that reaches a random number.
fn by_weight<T>(mut left: Vec<T>, of: &impl Fn(&T) -> &SrvRecord, random: &mut impl FnMut(u32) -> u32) -> Vec<T> {
    // Weight 0 comes first, so that it has a chance, but a very small one.
    left.sort_by_key(|record| of(record).weight != 0);
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let total = left.iter().fold(0u32, |sum, record| sum.saturating_add(of(record).weight.into()));
        let reach = random(total.saturating_add(1));
        let mut sum = 0u32;
        let chosen = left.iter().position(|record| {
            sum = sum.saturating_add(of(record).weight.into());
            sum >= reach
        });
        ordered.push(left.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::{SrvRecord, order};

    fn record(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord { priority, weight, port: 5270, target: target.to_owned() }
    }

    fn targets(groups: &[Vec<SrvRecord>]) -> Vec<Vec<&str>> {
        groups.iter().map(|group| group.iter().map(|record| record.target.as_str()).collect()).collect()
    }

    #[test]
    fn lower_priorities_come_first() {
        let groups = order(&[record(20, 0, "c"), record(10, 0, "a"), record(20, 0, "d"), record(10, 0, "b")], |_| 0);
        assert_eq!(targets(&groups), [["a", "b"], ["c", "d"]]);
    }

    #[test]
    fn no_records_are_no_groups() {
        assert!(order(&[], |_| unreachable!("nothing to choose from")).is_empty());
    }

    #[test]
    fn weight_zero_is_chosen_first_only_by_the_number_zero() {
        let records = [record(1, 10, "heavy"), record(1, 0, "zero")];
        assert_eq!(targets(&order(&records, |_| 0)), [["zero", "heavy"]]);
        assert_eq!(targets(&order(&records, |bound| bound - 1)), [["heavy", "zero"]]);
    }

    #[test]
    fn the_first_choice_follows_the_weights() {
        let records = [record(1, 30, "a"), record(1, 70, "b")];
        let first = |number: u32| order(&records, |bound| number.min(bound - 1))[0][0].target.clone();
        let chose_a = (0..=100).filter(|number| first(*number) == "a").count();
        assert_eq!(chose_a, 31, "0 to 30 of 0 to 100");
    }

    #[test]
    fn a_random_source_out_of_bounds_loses_no_record() {
        let groups = order(&[record(1, 1, "a"), record(1, 2, "b")], |_| u32::MAX);
        assert_eq!(groups[0].len(), 2);
    }
}
