//! What a newcomer sees while it happens, on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How often what moves by itself is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A line for each phase; nothing where nobody looks.
#[derive(Clone)]
pub(super) struct Show {
    bars: MultiProgress,
    hidden: bool,
}

/// One phase of the demonstration.
pub(super) struct Phase(ProgressBar);

impl Show {
    /// Shows itself unless it is to be quiet or standard error is no terminal.
    pub(super) fn new(quiet: bool) -> Self {
        let hidden = quiet || !io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self { bars: MultiProgress::with_draw_target(target), hidden }
    }

    /// What stands between the last line, which has no end yet, and what follows.
    pub(super) fn gap(&self) -> &'static str {
        if self.hidden { "" } else { "\n\n" }
    }

    /// Warnings of the routers go to standard error, above what is shown.
    pub(super) fn start_logging(&self) {
        let lines = tracing_subscriber::fmt::layer().with_writer(self.clone()).with_ansi(false);
        // Whoever runs this in a process of their own may have a log already.
        let _ = tracing_subscriber::registry().with(lines).with(LevelFilter::WARN).try_init();
    }

    /// A phase whose steps are not counted.
    pub(super) fn steps(&self, name: &'static str) -> Phase {
        let style = style("{prefix:>12.bold.green}  {spinner:.green} {wide_msg:.dim}");
        Phase::start(&self.bars, ProgressBar::new_spinner(), style, name)
    }

    /// A phase of `total` steps, each a `unit`.
    pub(super) fn count(&self, name: &'static str, total: u64, unit: &str) -> Phase {
        let template = format!(
            "{{prefix:>12.bold.green}}  {{bar:30.green/dim}} {{human_pos}}/{{human_len}} {unit}  {{wide_msg:.dim}}"
        );
        Phase::start(&self.bars, ProgressBar::new(total), style(&template), name)
    }
}

impl Phase {
    fn start(bars: &MultiProgress, bar: ProgressBar, style: ProgressStyle, name: &'static str) -> Self {
        let bar = bars.add(bar.with_style(style).with_prefix(name));
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// What is being done.
    pub(super) fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }

    /// So many steps more, the last of them being `what`.
    pub(super) fn advance(&self, steps: u64, what: &str) {
        self.0.inc(steps);
        if !what.is_empty() && !self.0.is_hidden() {
            self.0.set_message(what.to_owned());
        }
    }

    /// So many steps in all.
    pub(super) fn reach(&self, steps: u64) {
        self.0.set_position(steps);
    }

    /// It is over, and its line stays.
    pub(super) fn done(self, what: impl Into<Cow<'static, str>>) {
        self.0.finish_with_message(what);
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that cannot be read would be a mistake above; the plain bar is no reason to stop.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✔")
}

impl<'a> MakeWriter<'a> for Show {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Show {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::Write::write(&mut io::stderr(), line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut io::stderr())
    }
}
