//! What an operator may do with a running router: look at it, and change it. The admin interface and
//! signals both come here.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use actix::{Addr, Handler, Message};
use heteronym_actors::metrics::Metrics;
use heteronym_actors::router::{
    ActivatePair, CloseHost, DeactivatePair, GetQueues, GetStatus, GetTotals, NotReady, Reload, Router,
};
use heteronym_net::clock::Now;
use heteronym_net::steering::Resolvers;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::status as proto;
use tokio::sync::{Mutex, Notify};
use tracing::{info, warn};

use crate::admin::{Control, Reloaded, Telemetry, Token};
use crate::certificates::{self, Dates};
use crate::config::{Config, ConfigErrors, Problem};
use crate::launch::{actors_config, tls};
use crate::logging;
use crate::metrics;
use crate::status::{Page, Queues, Status};
use crate::telemetry;

/// See the module.
pub struct Operator {
    router: Addr<Router>,
    metrics: Arc<Metrics>,
    started: Instant,
    token: Token,
    /// Whom `steering_dns` asks, where there is one.
    steering: Option<Resolvers>,
    running: RwLock<Running>,
    /// One reload at a time.
    reloading: Mutex<()>,
    drain: Notify,
}

/// What the router runs with.
#[derive(Clone)]
struct Running {
    config: Arc<Config>,
    dates: Arc<Dates>,
    /// The entries in the places that actors know them by.
    locals: Vec<heteronym_actors::LocalConfig>,
}

impl Operator {
    /// Of `router`, which runs as `config` says with certificates of these dates.
    #[must_use]
    pub fn new(
        router: Addr<Router>,
        metrics: Arc<Metrics>,
        config: Config,
        dates: Dates,
        token: Token,
        steering: Option<Resolvers>,
    ) -> Self {
        let locals = actors_config(&config, &[]).locals;
        let running = Running { config: Arc::new(config), dates: Arc::new(dates), locals };
        let started = Now::read().instant;
        Self {
            router,
            metrics,
            started,
            token,
            steering,
            running: RwLock::new(running),
            reloading: Mutex::default(),
            drain: Notify::new(),
        }
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Waits until somebody asks for the end.
    pub async fn drain_asked(&self) {
        self.drain.notified().await;
    }

    /// Reloads, and tells the log how it went.
    pub async fn reload_and_log(&self) {
        match self.reload().await {
            Ok(_told_in_the_log) => (),
            Err(errors) => errors.iter().for_each(|error| warn!("not reloaded: {error}")),
        }
    }

    fn running(&self) -> Running {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask<M>(&self, message: M) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Router: Handler<M>,
    {
        self.router.send(message).await.ok()
    }

    /// Puts another configuration into force, but for what needs a restart.
    async fn apply(&self, mut config: Config, certificates: certificates::Certificates) -> Result<Reloaded, String> {
        let before = self.running();
        let restart = needs_restart(&before.config, &config);
        let same_host = before.config.host.name == config.host.name;
        config.host = crate::config::Host { source: config.host.source.clone(), ..before.config.host.clone() };
        config.listen = before.config.listen.clone();
        certificates.log_problems();
        let mut dates = certificates.dates();
        let certificates::Certificates { host, domains, roots } = certificates;
        let with_all = if same_host {
            Some(tls(&config, host, &domains).map_err(|error| error.to_string())?)
        } else {
            dates.host = before.dates.host;
            None
        };
        let told = actors_config(&config, &before.locals);
        let locals = told.locals.clone();
        let reload = Reload { config: told, tls: with_all, domains, roots };
        self.ask(reload).await.ok_or("the router has ended")?;
        logging::set_level(config.log.level);
        self.token.set(config.admin.token.clone());
        self.steering.iter().for_each(|resolvers| resolvers.replace(&config.dns.servers));
        let warnings = config.warnings().iter().map(ToString::to_string).collect();
        let running = Running { config: Arc::new(config), dates: Arc::new(dates), locals };
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
        Ok(Reloaded { needs_restart: restart, warnings })
    }
}

/// The keys whose change counts only after a restart.
fn needs_restart(before: &Config, after: &Config) -> Vec<&'static str> {
    let (old, new) = (&before.listen, &after.listen);
    let changed = [
        ("host.name", before.host.name != after.host.name),
        ("host.state", before.host.state != after.host.state),
        ("listen.federation", old.federation != new.federation),
        ("listen.s2s", old.s2s != new.s2s),
        ("listen.component", old.component != new.component),
        ("listen.local_s2s", old.local_s2s != new.local_s2s),
        ("listen.steering_dns", old.steering_dns != new.steering_dns),
        ("listen.admin", old.admin != new.admin),
        ("log.format", before.log.format != after.log.format),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

impl Telemetry for Operator {
    async fn status(&self, page: Page) -> Status {
        let status = self.ask(GetStatus).await.unwrap_or_default();
        let running = self.running();
        let uptime = Now::read().instant.duration_since(self.started);
        telemetry::document(status, page, &running.config, &running.dates, uptime)
    }

    async fn missing(&self) -> Vec<String> {
        self.ask(NotReady).await.unwrap_or_else(|| vec!["the router has ended".to_owned()])
    }

    async fn metrics(&self) -> String {
        let totals = self.ask(GetTotals).await.unwrap_or_default();
        let running = self.running();
        metrics::exposition(&self.metrics, &totals, &running.config.host.name, &running.dates)
    }

    async fn queues(&self) -> Queues {
        let queues: Vec<proto::QueueStatus> = self.ask(GetQueues).await.unwrap_or_default();
        Queues::new(queues.into_iter().map(telemetry::queue).collect())
    }
}

impl Control for Operator {
    async fn reload(&self) -> Result<Reloaded, ConfigErrors> {
        let _one_at_a_time = self.reloading.lock().await;
        let refuse = |why: &str| Problem::Invalid(why.to_owned()).of("reload");
        let Some(file) = self.running().config.file.clone() else {
            return Err(refuse("this configuration was not read from a file"));
        };
        let read = tokio::task::spawn_blocking(move || certificates::read(&file)).await;
        let (config, certificates) = read.map_err(|_| refuse("reading broke down; see the log"))??;
        let reloaded = self.apply(config, certificates).await.map_err(|why| refuse(&why))?;
        for key in &reloaded.needs_restart {
            warn!(key, "changed; it counts after a restart");
        }
        reloaded.warnings.iter().for_each(|warning| warn!("{warning}"));
        Ok(reloaded)
    }

    fn drain(&self) {
        info!("an operator asks for the end");
        self.drain.notify_one();
    }

    async fn close_host(&self, host: Name) -> usize {
        self.ask(CloseHost(host)).await.unwrap_or_default()
    }

    async fn activate(&self, pair: Pair) -> bool {
        self.ask(ActivatePair(pair)).await.unwrap_or_default()
    }

    async fn deactivate(&self, pair: Pair) -> bool {
        self.ask(DeactivatePair(pair)).await.unwrap_or_default()
    }
}
