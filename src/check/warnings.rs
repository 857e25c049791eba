//! What the configuration asks for and does not get, or would rather have.

use super::finding::{Finding, Level};
use crate::config::{Config, Warning};

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    config.warnings().iter().map(finding).collect()
}

fn finding(warning: &Warning) -> Finding {
    let (subject, advice) = match warning {
        Warning::NoState => ("host.state".to_owned(), "name a folder that this user can write, /var/lib/heteronym"),
        Warning::NoLocals => ("local".to_owned(), "add a [[local]] entry with the domains of your server"),
        Warning::QueueBelowStanza { queue } => (format!("limits.{queue}"), "raise it above limits.stanza_bytes"),
    };
    Finding::new(Level::Warning, subject, &warning.to_string(), "the router runs, and does without", advice)
}
