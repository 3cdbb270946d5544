//! Single flight: one compute per block in this process, and everyone else waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::memory::CachedBlock;
use crate::error::Error;
use crate::model::{BlockId, Timestamp};
use crate::planted::{self, Bug};
use crate::store::Generation;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How a flight ended.
#[derive(Clone)]
pub enum Landing {
    /// With a block.
    Arrived(Arc<CachedBlock>),
    /// With the error that everyone who waited shares.
    Failed(Error),
    /// Without a result, because its request failed elsewhere: whoever waited computes.
    Abandoned,
}

/// The flights of one store.
#[derive(Default)]
pub struct Flights(Mutex<HashMap<BlockId, Entry>>);

enum Entry {
    Running(Arc<Flight>),
    Failed { since: Timestamp, until: Timestamp, error: Error },
}

/// A compute of one block that others may wait for.
pub struct Flight {
    generation: Generation,
    landing: Mutex<Option<Landing>>,
    changed: Condvar,
}

/// What a request is to a block.
pub enum Claim<'a> {
    /// It computes the block, and must say how that ended.
    Lead(Lead<'a>),
    /// Another one computes it.
    Follow(Arc<Flight>),
    /// It failed a moment ago and is not tried again yet.
    Refused(Error),
}

/// The duty to land a flight; dropped without, the flight is abandoned, so that nobody waits for ever.
pub struct Lead<'a> {
    flights: &'a Flights,
    id: BlockId,
    flight: Arc<Flight>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between locking and unlocking can leave a half-made change, so a panic elsewhere does no harm.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flights {
    /// Claims several blocks at once, so that a request never waits while it leads a flight that
    /// another waiting request needs: it claims, lands what it leads, and only then waits.
    ///
    /// A flight that took off under another generation computes values that have been invalidated
    /// since: it is not joined, but replaced.
    pub fn claim(
        &self,
        ids: impl IntoIterator<Item = BlockId>,
        generation: Generation,
        now: Timestamp,
    ) -> Vec<Claim<'_>> {
        let mut table = lock(&self.0);
        let claim = |id: BlockId| {
            match table.get(&id) {
                Some(Entry::Running(flight))
                    if (flight.generation == generation || planted::is(Bug::OldFlightJoined))
                        && !planted::is(Bug::FlightNotJoined) =>
                {
                    return Claim::Follow(Arc::clone(flight));
                }
                // Both ends, because the clock may be set back.
                Some(Entry::Failed { since, until, error }) if (*since..*until).contains(&now) => {
                    return Claim::Refused(error.clone());
                }
                _ => {}
            }
            let flight = Arc::new(Flight { generation, landing: Mutex::default(), changed: Condvar::new() });
            table.insert(id.clone(), Entry::Running(Arc::clone(&flight)));
            Claim::Lead(Lead { flights: self, id, flight })
        };
        ids.into_iter().map(claim).collect()
    }

    /// Forgets failures whose time is over.
    pub fn tidy(&self, now: Timestamp) {
        lock(&self.0).retain(|_, entry| !matches!(entry, Entry::Failed { until, .. } if *until <= now));
    }

    /// Forgets failures of these blocks, because their inputs changed.
    pub fn forgive(&self, matches: impl Fn(&BlockId) -> bool) {
        lock(&self.0).retain(|id, entry| !(matches!(entry, Entry::Failed { .. }) && matches(id)));
    }
}

impl Flight {
    /// Waits for the end of the flight, at most until `deadline`.
    pub fn wait(&self, deadline: Instant) -> Option<Landing> {
        let mut landing = lock(&self.landing);
        loop {
            if landing.is_some() {
                return landing.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            landing = self.changed.wait_timeout(landing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Lead<'_> {
    /// Ends the flight with a block.
    pub fn land(self, block: Arc<CachedBlock>) {
        self.finish(Landing::Arrived(block), None);
    }

    /// Ends the flight with an error, which is answered to everyone until the back-off is over.
    pub fn fail(self, error: Error, since: Timestamp, backoff: Duration) {
        let backoff = if planted::is(Bug::ErrorForEver) { Duration::MAX } else { backoff };
        let until = since.saturating_add(backoff);
        self.finish(Landing::Failed(error.clone()), Some(Entry::Failed { since, until, error }));
    }

    fn finish(&self, landing: Landing, successor: Option<Entry>) {
        if planted::is(Bug::LandedBeforeLeaving) {
            self.tell(landing.clone());
        }
        {
            // Out of the table first: whoever wakes and needs more than this flight brings must not join it again.
            let mut table = lock(&self.flights.0);
            // Only its own entry: after an invalidation a younger flight may have taken its place.
            let is_own = matches!(table.get(&self.id), Some(Entry::Running(flight)) if Arc::ptr_eq(flight, &self.flight))
                || planted::is(Bug::YoungerFlightRemoved);
            match successor {
                Some(entry) if is_own => drop(table.insert(self.id.clone(), entry)),
                None if is_own => drop(table.remove(&self.id)),
                _ => {}
            }
        }
        self.tell(landing);
    }

    fn tell(&self, landing: Landing) {
        let mut slot = lock(&self.flight.landing);
        if slot.is_none() {
            *slot = Some(landing);
            self.flight.changed.notify_all();
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if planted::is(Bug::FlightNotLanded) {
            return;
        }
        self.finish(Landing::Abandoned, None);
    }
}
