//! The admin interface: HTTP for operators, probes and scripts.

mod bounded;
mod control;
mod page;
mod telemetry;
mod token;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use bounded::Bounded;
pub use control::{Control, Reloaded};
pub use telemetry::Telemetry;
pub use token::Token;

/// How long the router may take to tell about itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interface to `operator`. With a `token`, everything but `/health` needs it.
pub fn routes<T: Telemetry + Control>(operator: Arc<T>, token: Token) -> Router {
    let protected = telemetry::routes(Arc::clone(&operator))
        .merge(control::routes(operator))
        .layer(middleware::from_fn(refuse_pages))
        .layer(middleware::from_fn_with_state(token, token::check));
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
    axum::serve(Bounded::new(listener), routes).with_graceful_shutdown(end).await
}

/// A browser on this machine reaches the loopback interface on behalf of any page that it shows, and
/// says so: nothing is changed for a page.
async fn refuse_pages(request: Request, next: Next) -> Response {
    if request.method() == Method::POST && request.headers().contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not for web pages\n").into_response();
    }
    next.run(request).await
}

fn busy() -> Response {
    let text = format!("the router did not answer within {}\n", humantime::format_duration(PATIENCE));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
