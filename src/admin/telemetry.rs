//! What can be looked at.

use std::future::Future;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use heteronym_proto::name::Name;
use serde::Deserialize;
use tokio::time::timeout;

use super::{PATIENCE, busy, page};
use crate::metrics;
use crate::status::{Page, QueueStatus, Queues, Status};

/// What the admin interface asks the running router.
pub trait Telemetry: Send + Sync + 'static {
    /// The status with the pairs of `page`.
    fn status(&self, page: Page) -> impl Future<Output = Status> + Send;

    /// What is missing before the router is ready, one line each; nothing if it is.
    fn missing(&self) -> impl Future<Output = Vec<String>> + Send;

    /// The metrics in Prometheus's text format.
    fn metrics(&self) -> impl Future<Output = String> + Send;

    /// Everything that waits.
    fn queues(&self) -> impl Future<Output = Queues> + Send;
}

pub(super) fn routes<T: Telemetry>(telemetry: Arc<T>) -> Router {
    Router::new()
        .route("/", get(show::<T>))
        .route("/ready", get(ready::<T>))
        .route("/metrics", get(scrape::<T>))
        .route("/api/status", get(status::<T>))
        .route("/api/queues", get(queues::<T>))
        .with_state(telemetry)
}

async fn show<T: Telemetry>(State(telemetry): State<Arc<T>>) -> Response {
    match timeout(PATIENCE, telemetry.status(Page::default())).await {
        Ok(status) => Html(page::html(&status)).into_response(),
        Err(_) => busy(),
    }
}

async fn ready<T: Telemetry>(State(telemetry): State<Arc<T>>) -> Response {
    match timeout(PATIENCE, telemetry.missing()).await {
        Ok(missing) if missing.is_empty() => "ready\n".into_response(),
        Ok(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response(),
        Err(_) => busy(),
    }
}

async fn scrape<T: Telemetry>(State(telemetry): State<Arc<T>>) -> Response {
    match timeout(PATIENCE, telemetry.metrics()).await {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => busy(),
    }
}

async fn status<T: Telemetry>(State(telemetry): State<Arc<T>>, Query(page): Query<Page>) -> Response {
    match timeout(PATIENCE, telemetry.status(page.bounded())).await {
        Ok(status) => Json(status).into_response(),
        Err(_) => busy(),
    }
}

/// Which queues: of one pair (`local,remote`), or of one host.
#[derive(Deserialize)]
struct Which {
    pair: Option<String>,
    host: Option<String>,
}

async fn queues<T: Telemetry>(State(telemetry): State<Arc<T>>, Query(which): Query<Which>) -> Response {
    let wanted = match which.wanted() {
        Ok(wanted) => wanted,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    match timeout(PATIENCE, telemetry.queues()).await {
        Ok(queues) => Json(queues.only(wanted)).into_response(),
        Err(_) => busy(),
    }
}

impl Which {
    fn wanted(self) -> Result<impl Fn(&QueueStatus) -> bool, String> {
        let name = |text: &str| Name::parse(text.trim()).map_err(|error| format!("{text:?}: {error}\n"));
        let pair = match &self.pair {
            Some(pair) => {
                let (local, remote) = pair.split_once([',', '/']).ok_or("pair=LOCAL,REMOTE\n")?;
                Some((name(local)?, name(remote)?))
            }
            None => None,
        };
        let host = self.host.as_deref().map(name).transpose()?;
        Ok(move |queue: &QueueStatus| {
            let of_pair = pair.as_ref().is_none_or(|(local, remote)| {
                (queue.local.as_deref(), queue.remote.as_deref()) == (Some(local.as_str()), Some(remote.as_str()))
            });
            of_pair && host.as_ref().is_none_or(|host| queue.name.as_deref() == Some(host.as_str()))
        })
    }
}
