//! Asking a router: its admin interface.

use std::net::SocketAddr;
use std::time::Duration;

use heteronym_net::clock::Now;
use ureq::Agent;

use crate::Failure;

/// How long an answer may take; the router itself gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The admin interface of one router.
pub struct Admin {
    address: SocketAddr,
    agent: Agent,
}

impl Admin {
    /// At this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(Some(PATIENCE));
        // The router closes a connection after a minute, whatever goes over it.
        let config = config.max_idle_connections(0);
        Self { address, agent: config.build().into() }
    }

    /// Whether it is ready; not, while nobody listens.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        // Who does not listen costs nothing; ureq takes its time.
        std::net::TcpStream::connect(self.address).is_ok()
            && self.agent.get(self.url("ready")).call().is_ok_and(|answer| answer.status().is_success())
    }

    /// The sum of a metric's samples whose labels contain all of `labels`, such as `state="active"`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64, Failure> {
        let mut answer = self.agent.get(self.url("metrics")).call()?;
        Ok(sum(&answer.body_mut().read_to_string()?, name, labels))
    }

    /// Waits until a metric is `wanted`: for how long it was not.
    ///
    /// # Errors
    /// If that takes longer than `patience`: with what it was at last.
    pub fn wait_for(&self, name: &str, labels: &[&str], wanted: f64, patience: Duration) -> Result<Duration, Failure> {
        let start = Now::read().instant;
        loop {
            let value = self.metric(name, labels)?;
            let passed = Now::read().instant - start;
            if value >= wanted {
                return Ok(passed);
            }
            if passed > patience {
                return Err(format!("{name} is {value} after {} s, not {wanted}", passed.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let (of, value) = line.rsplit_once(' ')?;
        let rest = of.strip_prefix(name)?;
        let same = rest.is_empty() || rest.starts_with('{');
        (same && labels.iter().all(|label| rest.contains(label))).then(|| value.parse::<f64>().ok())?
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn samples_are_added_by_name_and_labels() {
        let text = "# HELP pairs Pairs\npairs{state=\"active\",via=\"federation\"} 3\n\
                    pairs{state=\"active\",via=\"local\"} 4\npairs{state=\"refused\",via=\"local\"} 5\npairs_total 6\n";
        assert_eq!(sum(text, "pairs", &["state=\"active\""]), 7.0);
        assert_eq!(sum(text, "pairs", &["state=\"active\"", "via=\"local\""]), 4.0);
        assert_eq!(sum(text, "pairs_total", &[]), 6.0);
        assert_eq!(sum(text, "others", &[]), 0.0);
    }
}
