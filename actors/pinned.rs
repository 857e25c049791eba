//! Pins (protocol §2), and the file that they outlive a restart in. No actor: a table that those who
//! activate domains write, and those who find ways read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heteronym_net::state::StateFile;
use heteronym_proto::name::Name;
use heteronym_proto::pins::Pins;
use tracing::warn;

use crate::now;

/// See the module.
#[derive(Debug)]
pub struct Pinned {
    pins: Mutex<Pins>,
    file: Option<StateFile>,
    unsaved: AtomicBool,
}

impl Pinned {
    /// Pins that hold for `life` after an activation; those of `file`, with the text that stands in it.
    #[must_use]
    pub fn new(life: Duration, file: Option<(StateFile, String)>) -> Self {
        let mut pins = Pins::new(life.as_secs());
        let file = file.map(|(file, text)| {
            let unread = pins.read(&text);
            if unread > 0 {
                warn!(file = %file.path().display(), unread, "lines that are no pins were left out");
            }
            file
        });
        Self { pins: Mutex::new(pins), file, unsaved: AtomicBool::default() }
    }

    /// Whether a domain must not fall back to classic S2S.
    pub(crate) fn holds(&self, domain: &Name) -> bool {
        self.pins().holds(domain, now().unix)
    }

    pub(crate) fn activated(&self, domain: &Name) {
        let changed = self.pins().activated(domain, now().unix);
        self.unsaved.fetch_or(changed, Ordering::Relaxed);
    }

    pub(crate) fn looked_up(&self, domain: &Name, offered: bool) {
        let changed = self.pins().looked_up(domain, offered, now().unix);
        self.unsaved.fetch_or(changed, Ordering::Relaxed);
    }

    pub(crate) fn set_life(&self, life: Duration) {
        self.pins().set_life(life.as_secs());
    }

    /// Writes the file, if there is anything new; it may take the time that a disk takes.
    pub(crate) fn save(&self) {
        let Some(file) = &self.file else { return };
        if !self.unsaved.swap(false, Ordering::Relaxed) {
            return;
        }
        let text = self.pins().to_text(now().unix);
        if let Err(error) = file.replace(&text) {
            self.unsaved.store(true, Ordering::Relaxed);
            warn!(file = %file.path().display(), %error, "the pins could not be written; free the disk or set host.state");
        }
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
