//! The admin interface, as a script uses it.

use std::net::SocketAddr;

use serde_json::Value;

/// The status and the text of `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str, authorization: Option<&str>) -> (u16, String) {
    let mut request = agent().get(format!("http://{address}{path}"));
    if let Some(value) = authorization {
        request = request.header("Authorization", value);
    }
    let mut response = request.call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

/// The status and the document of `GET path`, which is one.
pub(crate) fn get_json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (code, text) = get(address, path, None);
    (code, serde_json::from_str(&text).unwrap())
}

/// The status and the document of `POST path`.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    post_from(address, path, body, None)
}

/// The same from a page of `origin`.
pub(crate) fn post_from(address: SocketAddr, path: &str, body: &str, origin: Option<&str>) -> (u16, Value) {
    let mut request = agent().post(format!("http://{address}{path}"));
    if let Some(origin) = origin {
        request = request.header("Origin", origin);
    }
    let mut response = request.send(body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// An agent that takes every status as an answer, and no proxy.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into()
}
