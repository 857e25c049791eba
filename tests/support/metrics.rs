//! The router's numbers, as Prometheus would read them.

use super::http::get;
use super::router::Running;
use super::soon;

/// What `/metrics` says of `sample`, a name with its labels: 0 of one that has not been counted yet.
pub(crate) fn metric(router: &Running, sample: &str) -> f64 {
    let (code, text) = get(router.admin, "/metrics", None);
    assert_eq!(code, 200);
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let name = sample.split('{').next().unwrap();
    assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not in {text}");
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until `sample` is as `holds` wants it.
pub(crate) async fn metric_until(router: &Running, sample: &str, holds: impl Fn(f64) -> bool) -> f64 {
    let asking = async {
        loop {
            let value = metric(router, sample);
            if holds(value) {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(sample, asking).await
}
