//! DNS for our own servers: is there somebody else to ask?

use heteronym_net::steering::leading_back;

use super::finding::Finding;
use crate::config::Config;

pub(super) fn findings(config: &Config) -> Option<Finding> {
    let server = leading_back(&config.listen.steering_dns, &config.dns.servers)?;
    let whose = if config.dns.servers.is_empty() { "the system's name servers" } else { "dns.servers" };
    let why = format!("it is {server}, one of {whose}; our own look-ups would come here too, so it answers nothing");
    Some(Finding::error("listen.steering_dns", "it would ask itself", why, "name resolvers in dns.servers"))
}
