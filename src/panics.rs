//! A panic costs one connection or one activation, whose parent begins anew: here it is logged with its cause, and
//! counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use std::sync::Arc;

use heteronym_actors::metrics::Metrics;
use tracing::error;

/// Logs and counts every panic of this process from now on; with `RUST_BACKTRACE` set, with the way to it.
pub fn watch(metrics: Arc<Metrics>) {
    set_hook(Box::new(move |panic| {
        metrics.panicked();
        log(panic);
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let cause = panic.payload_as_str().unwrap_or("(not a text)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    error!(cause, place, backtrace, "a fault of the router, please report it: what broke down is started again");
}
