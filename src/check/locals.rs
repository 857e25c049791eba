//! Our own servers: are they there, and do they take the secret?

use std::net::TcpStream;

use heteronym_actors::local_link::{try_component, try_jabberd2};
use heteronym_proto::component::Secret;
use heteronym_proto::limits::Limits;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::finding::{Finding, Level};
use crate::config::{self, Attach, Config, Local, LoopbackS2s};
use crate::status::{LocalState, LocalStatus, Status};

/// `running`: what the daemon of this configuration says. Without it, servers that we dial are dialled,
/// unless `offline`.
pub(super) fn findings(config: &Config, running: Option<&Status>, offline: bool) -> Vec<Finding> {
    let of = |local: &Local| match running {
        Some(status) => status.locals.iter().find(|of| of.name == local.name).and_then(seen_by_daemon),
        None if offline => None,
        None => try_it(config, local),
    };
    config.locals.iter().filter_map(of).collect()
}

fn seen_by_daemon(status: &LocalStatus) -> Option<Finding> {
    match status.state {
        LocalState::Up => None,
        LocalState::Connecting | LocalState::Down => {
            let why =
                status.last_error.clone().unwrap_or_else(|| "it has not attached since the daemon started".into());
            Some(down(&status.name, why))
        }
    }
}

fn down(name: &str, why: String) -> Finding {
    let advice = "start the server, and compare address, name and secret on both sides";
    Finding::error(format!("local[{name:?}]"), "the server is not attached", why, advice)
}

fn try_it(config: &Config, local: &Local) -> Option<Finding> {
    let limits = &config.limits;
    let given = |secret: &config::Secret| Secret::new(secret.expose().to_owned());
    match &local.attach {
        Attach::DialComponent { address, name, secret, .. } => {
            let attached = try_component(*address, name.as_str(), given(secret), limits.stanza_bytes);
            in_time(limits, attached).err().map(|why| down(&local.name, why))
        }
        Attach::Jabberd2 { address, user, secret } => {
            let attached = try_jabberd2(*address, user.clone(), given(secret), limits.stanza_bytes);
            in_time(limits, attached).err().map(|why| down(&local.name, why))
        }
        Attach::Component { .. } => Some(Finding::new(
            Level::Info,
            format!("local[{:?}]", local.name),
            "cannot be tried: the server dials us",
            "the daemon does not run, so there is nothing to dial",
            "start the daemon, then check again",
        )),
        Attach::S2s(LoopbackS2s { address, .. }) => {
            let connected = TcpStream::connect_timeout(address, config.limits.connect_timeout);
            connected.err().map(|why| down(&local.name, format!("{address}: {why}")))
        }
    }
}

fn in_time(limits: &Limits, attached: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let in_time = async { timeout(limits.connect_timeout, attached).await };
    runtime.block_on(in_time).unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
