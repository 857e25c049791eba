//! The bearer token (RFC 6750 §2.1) that opens the admin interface.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// The token, if one is needed; a reload may replace it. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Token(Arc<RwLock<Option<Secret>>>);

impl Token {
    /// This token, or none.
    #[must_use]
    pub fn new(token: Option<Secret>) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// Another one from now on.
    pub fn set(&self, token: Option<Secret>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Whether the request shows it, in a time that does not depend on how much of it is right.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token.as_ref() else { return true };
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, shown)) = value.and_then(|value| value.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(shown.trim().as_bytes().ct_eq(token.expose().as_bytes()))
    }
}

pub(super) async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    if token.is_shown(request.headers()) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, "the bearer token of admin.token_file is needed\n").into_response()
}
