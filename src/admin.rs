//! The admin interface: HTTP for operators, probes and scripts.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config::Secret;
use crate::status::{Page, Status};

/// How long the router may take to tell about itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the admin interface asks the running router.
pub trait Telemetry: Send + Sync + 'static {
    /// The status with the pairs of `page`.
    fn status(&self, page: Page) -> impl Future<Output = Status> + Send;

    /// What is missing before the router is ready, one line each; nothing if it is.
    fn missing(&self) -> impl Future<Output = Vec<String>> + Send;
}

/// The interface over `telemetry`. With a `token`, everything but `/health` needs it.
pub fn routes<T: Telemetry>(telemetry: Arc<T>, token: Option<Secret>) -> Router {
    let protected = Router::new()
        .route("/ready", get(ready::<T>))
        .route("/api/status", get(status::<T>))
        .with_state(telemetry)
        .layer(middleware::from_fn_with_state(token, check_token));
    // A probe has no token, and learns nothing here.
    Router::new().route("/health", get(async || "ok\n")).merge(protected)
}

/// Serves `routes` on `listener` until `end` comes, then finishes the answers under way.
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, routes).with_graceful_shutdown(end).await
}

async fn ready<T: Telemetry>(State(telemetry): State<Arc<T>>) -> Response {
    match timeout(PATIENCE, telemetry.missing()).await {
        Ok(missing) if missing.is_empty() => "ready\n".into_response(),
        Ok(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response(),
        Err(_) => busy(),
    }
}

async fn status<T: Telemetry>(State(telemetry): State<Arc<T>>, Query(page): Query<Page>) -> Response {
    match timeout(PATIENCE, telemetry.status(page.bounded())).await {
        Ok(status) => Json(status).into_response(),
        Err(_) => busy(),
    }
}

fn busy() -> Response {
    let text = format!("the router did not answer within {}\n", humantime::format_duration(PATIENCE));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn check_token(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    match &token {
        Some(token) if !bears(request.headers(), token) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, challenge, "the bearer token of admin.token_file is needed\n").into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

/// Whether the request shows `token`, in a time that does not depend on how much of it is right.
fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, shown)) = value.and_then(|value| value.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer") && bool::from(shown.trim().as_bytes().ct_eq(token.expose().as_bytes()))
}
