//! What is under way, on standard error, where that is a terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often what moves by itself is drawn.
const TICK: Duration = Duration::from_millis(100);

/// The line of one phase; it goes when the phase is over.
pub struct Bar(ProgressBar);

impl Bar {
    /// A phase of `total` steps, each a `unit`; of a phase whose end is a time, `total` is 0.
    #[must_use]
    pub fn new(what: &str, total: u64, unit: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self::hidden();
        }
        let template = match total {
            0 => format!("{{spinner}} {what}  {{human_pos}} {unit} {{elapsed}}"),
            _ => format!("{{spinner}} {what}  {{bar:30}} {{human_pos}}/{{human_len}} {unit} {{elapsed}}"),
        };
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style.progress_chars("━━─"));
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// None.
    #[must_use]
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// So many steps in all.
    pub fn reach(&self, steps: u64) {
        self.0.set_position(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
