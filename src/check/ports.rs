//! Can the listeners listen?

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use heteronym_net::listen::{bind, bind_both};

use super::finding::{Finding, Level};
use crate::config::Config;

/// `running`: the daemon of this configuration runs, so that its ports are taken, by itself.
pub(super) fn findings(config: &Config, running: bool) -> Vec<Finding> {
    // The listeners that `launch` binds.
    let listen = &config.listen;
    let listeners = [
        ("federation", &listen.federation),
        ("s2s", &listen.s2s),
        ("component", &listen.component),
        ("local_s2s", &listen.local_s2s),
        ("admin", &listen.admin),
    ];
    let all = listeners.into_iter().flat_map(|(key, addresses)| addresses.iter().map(move |address| (key, *address)));
    let streams = all.filter_map(|(key, address)| of(key, address, bind(address).err()?, running));
    let both = listen.steering_dns.iter();
    let both = both.filter_map(|address| of("steering_dns", *address, bind_both(*address).err()?, running));
    streams.chain(both).collect()
}

fn of(key: &str, address: SocketAddr, error: Error, running: bool) -> Option<Finding> {
    let subject = format!("listen.{key} = {address}");
    Some(match error.kind() {
        ErrorKind::AddrInUse if running => {
            return None;
        }
        ErrorKind::AddrInUse => {
            let advice = "end the other program, or choose another port; ss -tulnp tells which it is";
            Finding::error(subject, "the port is already used", error, advice)
        }
        ErrorKind::AddrNotAvailable => Finding::error(
            subject,
            "the address is not one of this machine's",
            error,
            "choose one that `ip address` lists",
        ),
        ErrorKind::PermissionDenied => {
            let advice = "choose a port from 1024, or give the program CAP_NET_BIND_SERVICE";
            Finding::error(subject, "the port may not be used", error, advice)
        }
        _ => Finding::new(Level::Error, subject, "cannot listen", error, "choose another address"),
    })
}
