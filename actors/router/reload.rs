//! Another configuration, while everything runs.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use heteronym_net::trust::Roots;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use heteronym_proto::way::Admission;
use tracing::info;

use super::Router;
use crate::classic_stream::{ClassicHandle, EndStream};
use crate::crypto::KeyOf;
use crate::host_connection::{LinkHandle, OfOperator};
use crate::{Config, Tls, classic_stream, local_link, registry};

/// Everything that a reload replaces. Entries keep their places; those that are gone say so.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reload {
    /// What actors are told.
    pub config: Config,
    /// TLS with the certificates; none: as before.
    pub tls: Option<Tls>,
    /// The keys of all hosted domains.
    pub domains: HashMap<Name, KeyOf>,
    /// Who is trusted.
    pub roots: Roots,
}

impl Handler<Reload> for Router {
    type Result = ();

    fn handle(&mut self, Reload { config, tls, domains, roots }: Reload, ctx: &mut Self::Context) {
        let config = Arc::new(config);
        self.shared.keys.replace(domains, roots);
        let before = self.shared.current.replace(Arc::clone(&config), tls);
        let (servers, policy) = (config.resolvers.clone(), config.delegation);
        let _ = self.shared.registry.try_send(registry::Reconfigure { servers, policy });
        self.waiting.set_limits(config.limits.pair_queue_bytes, config.limits.host_queue_bytes);
        self.reconfigure_locals(&before, &config, ctx);
        self.shared.routes.remove_all(|pair, route| is_obsolete(pair, route, &config));
        for entry in self.links.values() {
            let _ = entry.link.addr.try_send(OfOperator::Reconfigure(Arc::clone(&config)));
        }
        self.hosts.values_mut().for_each(|host| host.choice.forget_failures());
        self.remotes.forget_pauses();
        self.shared.pinned.set_life(config.pin);
        self.reconfigure_streams();
        info!(locals = config.locals.iter().filter(|local| !local.is_gone()).count(), "reloaded");
    }
}

impl Router {
    /// Streams of classic S2S with domains that it may not be used for any more end.
    fn reconfigure_streams(&mut self) {
        for stream in self.streams.values() {
            let _ = stream.handle.addr.try_send(classic_stream::Reconfigure);
        }
        let may_not = |domain: &Name| matches!(self.shared.circumstances(domain).admission(), Admission::Never(_));
        for id in self.remotes.streams_of(may_not) {
            if let Some(stream) = self.streams.get(&id) {
                let _ = stream.handle.addr.try_send(EndStream);
            }
            self.remotes.retire(id);
        }
        let config = self.shared.config();
        self.shared.routes.remove_all(|pair, route| match route {
            Route::Classic { .. } => may_not(&pair.remote) || !config.hosted.contains(pair.local.as_str()),
            Route::Link { .. } | Route::Moving | Route::Local(_) => false,
        });
    }

    fn reconfigure_locals(&self, before: &Arc<Config>, config: &Arc<Config>, ctx: &mut Context<Self>) {
        for local in self.shared.locals.all() {
            let (before, config) = (Arc::clone(before), Arc::clone(config));
            let _ = local.addr.try_send(local_link::Reconfigure { before, config });
        }
        for entry in before.locals.len()..config.locals.len() {
            self.start_local(entry, ctx.address());
        }
    }
}

/// A pair inside this router whose domains are not served as they were. Routes over links are the
/// links' own business.
fn is_obsolete(pair: &Pair, route: &Route<LinkHandle, ClassicHandle>, config: &Config) -> bool {
    match route {
        Route::Link { .. } | Route::Classic { .. } | Route::Moving => false,
        Route::Local(inside) => {
            !config.hosted.contains(pair.local.as_str())
                || config.hosted.entry(pair.remote.as_str()) != Some(inside.entry)
        }
    }
}
