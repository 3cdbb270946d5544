//! The service level's history, from the manifest, after a restart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::core::Core;
use crate::error::Result;
use crate::model::ViewName;
use crate::slo::{Counts, LONGEST, SloReport, report};

/// A manifest that cannot be read this often is gone on without.
const ATTEMPTS: u32 = 5;

/// Whether the history was read; how often it was tried.
#[derive(Default)]
pub struct Restored {
    trying: Mutex<State>,
    // Asked by exporters, which must not wait for a manifest that others hold.
    done: AtomicBool,
}

#[derive(Default)]
struct State {
    done: bool,
    attempts: u32,
}

impl Core {
    /// Reads what was counted before this store was opened, once.
    ///
    /// It has to happen before this store's own counts go to the journal: they would come back and
    /// count twice. Returns whether they may go.
    pub fn restore_history(&self) -> bool {
        let mut state = self.restored.trying.lock().unwrap_or_else(PoisonError::into_inner);
        // Who makes no requests of its own has nothing that could come back: it never goes on without.
        let given_up = |state: &State| !self.observes && state.attempts >= ATTEMPTS;
        if state.done || given_up(&state) {
            return true;
        }
        state.attempts = state.attempts.saturating_add(1);
        match self.read_history() {
            Ok(()) => state.done = true,
            Err(error) => {
                if let Some(left_out) = self.repeats.left_out("history") {
                    tracing::warn!(target: "larder::slo", %error, attempt = state.attempts, left_out, "the history of requests cannot be read");
                }
            }
        }
        self.restored.done.store(state.done, Ordering::Release);
        state.done || given_up(&state)
    }

    /// Whether the history is in the counts. Where it could not be read, it never will be: by now this
    /// store's own counts are in the journal too.
    pub fn has_history(&self) -> bool {
        self.restored.done.load(Ordering::Acquire)
    }

    fn read_history(&self) -> Result<()> {
        let now = self.now();
        let since = now.saturating_sub(LONGEST);
        let mut seen = self.observed.lock();
        let (views, current, changing) = self.manifest.read(|query| {
            let of_view = |view: ViewName| Ok((query.requests(since, Some(&view))?, view));
            let views = query.view_names(since)?.into_iter().map(of_view).collect::<Result<Vec<_>>>()?;
            Ok((views, query.current_views()?, seen.ask(query, now)?))
        })?;
        if self.observes {
            // The first look: it is history, and not new.
            seen.look(changing, now);
        }
        drop(seen);
        // So that the requests of each are exported as 0 before the first comes.
        for version in current.iter().filter(|version| version.last_seen >= since) {
            self.views.ledger(&version.view, now);
        }
        for (minutes, view) in views.into_iter().filter(|(minutes, _)| !minutes.is_empty()) {
            self.views.ledger(&view, now).restore(now, minutes);
        }
        Ok(())
    }

    /// The service level of all views, or of one.
    pub fn slo(&self, view: Option<&ViewName>) -> SloReport {
        self.restore_history();
        self.slo_so_far(view)
    }

    /// The same without waiting for the history.
    pub fn slo_so_far(&self, view: Option<&ViewName>) -> SloReport {
        let now = self.now();
        let ledgers: Vec<_> =
            self.views.ledgers().into_iter().filter(|(name, _)| view.is_none_or(|view| view == name)).collect();
        let settings = &self.settings().slo;
        report(settings.objective, settings.window, |window| {
            let mut counts = Counts::default();
            ledgers.iter().for_each(|(_, ledger)| counts.merge(&ledger.sum(now, window)));
            counts
        })
    }
}
