//! Counting the requests of every process that shares the directory, for one that only watches.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::core::Core;
use crate::error::Result;
use crate::manifest::MinuteCount;
use crate::model::{Outcome, Timestamp, ViewName};

/// How late a process may write its counts and still be counted.
pub const LATEST: Duration = Duration::from_secs(3600);

/// What the manifest said at the last look, of the minutes that may still change.
///
/// Held while this store's own counts go to the journal, so that they are never taken for another's.
#[derive(Default)]
pub struct Observed(Mutex<Seen>);

/// How many requests of a view, a minute and an outcome are counted already.
pub type Seen = HashMap<(ViewName, i64, Outcome), u64>;

impl Observed {
    /// Takes hold of what was seen.
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first minute that may still change.
fn first_minute(now: Timestamp) -> i64 {
    now.saturating_sub(LATEST).minute()
}

/// Remembers what is counted already.
pub fn remember(seen: &mut Seen, rows: Vec<MinuteCount>) {
    seen.extend(rows.into_iter().map(|row| ((row.view, row.minute, row.outcome), row.count)));
}

impl Core {
    /// Counts what came into the manifest since the last time.
    ///
    /// # Errors
    /// Those of the manifest: then it is counted the next time.
    pub fn observe_others(&self) -> Result<()> {
        let mut seen = self.observed.lock();
        let now = self.now();
        let rows = self.manifest.read(|query| query.requests_per_minute(now.saturating_sub(LATEST)))?;
        for row in rows {
            let before = seen.insert((row.view.clone(), row.minute, row.outcome), row.count).unwrap_or(0);
            let new = row.count.saturating_sub(before);
            if new > 0 {
                let counts = [(row.outcome, new)].into_iter().collect();
                self.views.ledger(&row.view, now).observe(now, row.minute, &counts);
            }
        }
        let first = first_minute(now);
        seen.retain(|(_, minute, _), _| *minute >= first);
        Ok(())
    }
}
