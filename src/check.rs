//! `heteronym check`: what would go wrong, before it does; and what to do about it.
//!
//! Where the daemon runs, it is asked; nothing that it uses is touched.

mod certificates;
mod dns;
mod finding;
mod locals;
mod ports;
mod steering;
mod warnings;

use std::path::Path;

use crate::certificates::{Certificates, read};
use crate::config::{Config, ConfigErrors};
use crate::status::{Status, query};

pub use finding::{Finding, Level, Report};

/// Looks at everything that the configuration at `file` asks for; `offline`: without network.
///
/// # Errors
/// Everything that is wrong with the configuration: then nothing else can be looked at.
pub fn check(file: &Path, offline: bool) -> Result<Report, ConfigErrors> {
    let (config, certificates) = read(file)?;
    Ok(Report::new(findings(&config, &certificates, offline)))
}

fn findings(config: &Config, certificates: &Certificates, offline: bool) -> Vec<Finding> {
    // Nobody has to run: then nothing is known of it.
    let running: Option<Status> = query(config).ok().filter(|status: &Status| status.host == config.host.name.as_str());
    let mut findings = warnings::findings(config);
    findings.extend(certificates::findings(config, certificates));
    findings.extend(ports::findings(config, running.is_some()));
    findings.extend(steering::findings(config));
    if !offline {
        findings.extend(dns::findings(config));
    }
    findings.extend(locals::findings(config, running.as_ref(), offline));
    findings.sort_by_key(|finding| finding.level);
    findings
}
