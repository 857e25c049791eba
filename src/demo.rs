//! The demonstration: two hosts on this machine, everything embedded.
//!
//! A CA, certificates, a DNS zone and two full routers; a component on either side that serves all
//! its domains. What happens is what happens between two providers: nothing is short-cut. The parts
//! that others need too, in tests and benches, are public.

pub mod authority;
mod cast;
pub mod component;
mod error;
mod host;
mod ledger;
pub mod name_server;
mod report;
mod show;
mod sockets;
mod stanza;
mod traffic;

use std::env;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use heteronym_net::clock::Now;
use tracing::warn;

use crate::daemon::cores;

pub use error::{DemoError, List};

use authority::Authority;
use cast::{Cast, Side};
use host::Host;
use ledger::Ledger;
use name_server::{NameServer, Zone};
use report::{Measured, Report, introduction};
use show::Show;
use traffic::{Activations, ECHOES, Traffic};

/// How large the demonstration is, and how it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Domains on either side.
    pub domains: u32,
    /// Stanzas for each pair and direction.
    pub stanzas: u32,
    /// One JSON document instead of the show.
    pub json: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// If a part of it cannot start, a pair does not become active, or a stanza was lost.
pub fn run(options: Options) -> Result<(), DemoError> {
    let show = Show::new(options.json);
    show.start_logging();
    actix_rt::System::new().block_on(async {
        tokio::select! {
            result = perform(options, &show) => result,
            // Without a way to hear of it, it goes on: the default is to end at once anyway.
            Ok(()) = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
        }
    })
}

async fn perform(options: Options, show: &Show) -> Result<(), DemoError> {
    let started = Now::read().instant;
    let cast = Rc::new(Cast::new(options.domains as usize));
    if !options.json {
        print(&introduction(&cast, options.stanzas))?;
    }
    let folder = tempfile::tempdir().map_err(|error| DemoError::Folder { folder: env::temp_dir(), error })?;
    let names = NameServer::start(Zone::new()).map_err(DemoError::NameServer)?;
    let hosts = prepare(&cast, folder.path(), &names, show)?;
    let [mine, other] = &hosts;
    let components = [mine.attach(&cast).await?, other.attach(&cast).await?];
    let mut traffic = Traffic::new(Rc::clone(&cast), components, options.stanzas);

    let activations = activate(&mut traffic, &hosts, &cast, show).await?;
    let round_trips = exchange(&mut traffic, show).await?;

    let pairs_active = mine.pairs_active().await.min(other.pairs_active().await);
    let host_connections = connections(&hosts).await;
    let time = Now::read().instant - started;
    let measured = Measured { pairs_active, host_connections, activations, round_trips, time };
    let report = Report::new(&cast, traffic.ledger(), measured);
    if options.json {
        let document = serde_json::to_string_pretty(&report).map_err(|error| DemoError::Output(error.into()))?;
        print(&format!("{document}\n"))?;
    } else {
        print(&format!("{}{}", show.gap(), report.table()))?;
    }
    for host in hosts {
        host.end().await;
    }
    judge(traffic.ledger(), &cast)
}

/// Both hosts, with everything that they need.
fn prepare(cast: &Cast, folder: &Path, names: &NameServer, show: &Show) -> Result<[Host; 2], DemoError> {
    let phase = show.steps("Preparing");
    phase.say("a certificate authority");
    let authority = Authority::new("heteronym demo")?;
    // They share the machine.
    let cores = cores().div_ceil(2);
    let start = |side: Side| {
        phase.say(format!("{}: certificates, DNS records, router", side.host()));
        Host::start(side, cast, folder, &authority, names, cores)
    };
    let hosts = [start(Side::Mine)?, start(Side::Other)?];
    phase.done("a CA, certificates, a DNS zone, two routers, a component on either side");
    Ok(hosts)
}

/// Makes every pair active, or says which are not, and why.
async fn activate(
    traffic: &mut Traffic,
    hosts: &[Host; 2],
    cast: &Cast,
    show: &Show,
) -> Result<Vec<Duration>, DemoError> {
    let phase = show.count("Activating", cast.pairs_total() as u64, "pairs");
    let Activations { times, missing } = traffic.activate(&phase).await?;
    if missing.is_empty() {
        phase.done("RSA with OAEP here, ECDSA with HPKE there");
        return Ok(times);
    }
    let mut shown = Vec::new();
    for (pair, bounced) in missing.iter().take(List::NAMED) {
        let flow = pair.from(pair.initiator());
        let (from, to) = cast.names(flow);
        let known = match bounced {
            Some(reason) => Some(reason.clone()),
            None => hosts[flow.from.index()].trouble(from, to).await,
        };
        shown.push(format!("{from} → {to} ({})", known.unwrap_or_else(|| "no answer".to_owned())));
    }
    let list = List::new(shown, missing.len());
    Err(DemoError::Inactive { missing: missing.len(), total: cast.pairs_total(), list })
}

/// Sends everything, then times echoes.
async fn exchange(traffic: &mut Traffic, show: &Show) -> Result<Vec<Duration>, DemoError> {
    let sending = show.count("Sending", traffic.ledger().total(), "stanzas");
    traffic.send(&sending).await?;
    sending.done("both ways over every pair");
    let timing = show.count("Timing", ECHOES.into(), "echoes");
    let round_trips = traffic.time_echoes(&timing).await?;
    timing.done("one at a time");
    Ok(round_trips)
}

/// As the operating system counts them; where it does not tell, as the routers do.
async fn connections(hosts: &[Host; 2]) -> usize {
    let listeners: Vec<SocketAddr> = hosts.iter().flat_map(|host| host.federation()).copied().collect();
    match sockets::connections(&listeners) {
        Ok(count) => count,
        Err(error) => {
            warn!(%error, "the system does not show its connections; this is what the router says");
            hosts[0].connections().await
        }
    }
}

/// Prints to standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<(), DemoError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(DemoError::Output(error)),
        _ => Ok(()),
    }
}

/// Whether every stanza arrived or came back, once and in order.
fn judge(ledger: &Ledger, cast: &Cast) -> Result<(), DemoError> {
    let missing = ledger.missing(cast);
    if !missing.is_empty() {
        let name = |(flow, count): &(cast::Flow, u32)| {
            let (from, to) = cast.names(*flow);
            format!("{count} from {from} to {to}")
        };
        let list = List::new(missing.iter().take(List::NAMED).map(name).collect(), missing.len());
        let (sent, settled) = (ledger.total(), ledger.tally().settled());
        return Err(DemoError::Lost { lost: sent - settled, sent, list });
    }
    let tally = ledger.tally();
    if tally.duplicated + tally.disordered > 0 {
        return Err(DemoError::Disturbed { duplicated: tally.duplicated, disordered: tally.disordered });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
