//! What can be changed.

use std::future::Future;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::ConfigErrors;

/// What the admin interface makes the running router do.
pub trait Control: Send + Sync + 'static {
    /// Reads file, domains and certificates again, and puts into force what can be.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, ConfigErrors>> + Send;

    /// Ends everything in order.
    fn drain(&self);

    /// Closes the connections to a host; how many there were.
    fn close_host(&self, host: Name) -> impl Future<Output = usize> + Send;

    /// Activates a pair; false: our domain is not served here.
    fn activate(&self, pair: Pair) -> impl Future<Output = bool> + Send;

    /// Ends a pair; false: it was not active over a host stream.
    fn deactivate(&self, pair: Pair) -> impl Future<Output = bool> + Send;
}

/// How a reload went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Keys that were changed and count only after a restart.
    pub needs_restart: Vec<&'static str>,
    /// What the configuration asks for and does not get, or would rather have.
    pub warnings: Vec<String>,
}

pub(super) fn routes<T: Control>(control: Arc<T>) -> Router {
    Router::new()
        .route("/api/reload", post(reload::<T>))
        .route("/api/drain", post(drain::<T>))
        .route("/api/hosts/{host}/close", post(close_host::<T>))
        .route("/api/pairs/activate", post(activate::<T>))
        .route("/api/pairs/deactivate", post(deactivate::<T>))
        .with_state(control)
}

async fn reload<T: Control>(State(control): State<Arc<T>>) -> Response {
    match control.reload().await {
        Ok(Reloaded { needs_restart, warnings }) => {
            Json(json!({"ok": true, "needs_restart": needs_restart, "warnings": warnings})).into_response()
        }
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"ok": false, "errors": errors}))).into_response()
        }
    }
}

async fn drain<T: Control>(State(control): State<Arc<T>>) -> Response {
    control.drain();
    (StatusCode::ACCEPTED, Json(json!({"ok": true}))).into_response()
}

async fn close_host<T: Control>(State(control): State<Arc<T>>, Path(host): Path<String>) -> Response {
    let name = match Name::parse(&host) {
        Ok(name) => name,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("{host:?}: {error}")),
    };
    match control.close_host(name).await {
        0 => refuse(StatusCode::NOT_FOUND, format!("there is no connection to {host}")),
        closed => Json(json!({"ok": true, "closed": closed})).into_response(),
    }
}

/// A pair as it is asked for.
#[derive(Deserialize)]
struct Names {
    local: String,
    remote: String,
}

async fn activate<T: Control>(State(control): State<Arc<T>>, body: Bytes) -> Response {
    let pair = match pair(&body) {
        Ok(pair) => pair,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, why),
    };
    let local = pair.local.clone();
    if control.activate(pair).await {
        (StatusCode::ACCEPTED, Json(json!({"ok": true}))).into_response()
    } else {
        refuse(StatusCode::NOT_FOUND, format!("{local} is not served here"))
    }
}

async fn deactivate<T: Control>(State(control): State<Arc<T>>, body: Bytes) -> Response {
    let pair = match pair(&body) {
        Ok(pair) => pair,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, why),
    };
    let shown = pair.to_string();
    if control.deactivate(pair).await {
        Json(json!({"ok": true})).into_response()
    } else {
        refuse(StatusCode::NOT_FOUND, format!("{shown} is not active over a host stream"))
    }
}

fn pair(body: &[u8]) -> Result<Pair, String> {
    let Names { local, remote } = serde_json::from_slice(body)
        .map_err(|error| format!("expected {{\"local\": \"…\", \"remote\": \"…\"}}: {error}"))?;
    let name = |text: &str| Name::parse(text).map_err(|error| format!("{text:?}: {error}"));
    Ok(Pair { local: name(&local)?, remote: name(&remote)? })
}

fn refuse(code: StatusCode, why: String) -> Response {
    (code, Json(json!({"ok": false, "error": why}))).into_response()
}
