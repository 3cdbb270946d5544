//! An answer that many ask for and one fetches.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::model::Timestamp;

/// Whoever asks while it is fetched waits for the same answer, be it an error; whoever asks soon after gets it again.
#[derive(Debug)]
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    is_fetched_now: bool,
    /// How often an answer came.
    answers: u64,
    last: Option<Answer<T>>,
}

#[derive(Debug)]
struct Answer<T> {
    result: Result<T>,
    since: Timestamp,
    until: Timestamp,
}

/// The duty to say that nobody fetches any more, also where that panicked.
struct Fetching<'a, T>(&'a Shared<T>);

impl<T> Drop for Fetching<'_, T> {
    fn drop(&mut self) {
        self.0.lock().is_fetched_now = false;
        self.0.changed.notify_all();
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { is_fetched_now: false, answers: 0, last: None }), changed: Condvar::new() }
    }
}

impl<T: Clone> Shared<T> {
    /// The answer that was fetched last, where it still holds; that of whoever fetches it now; or a new one, which holds
    /// as long as `holds` says. No lock is held while it is fetched.
    pub fn get(
        &self,
        now: impl Fn() -> Timestamp,
        holds: impl FnOnce(&Result<T>) -> Duration,
        fetch: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mut state = self.lock();
        if let Some(last) = &state.last
            // Both ends, because the clock may be set back.
            && (last.since..last.until).contains(&now())
        {
            return last.result.clone();
        }
        let before = state.answers;
        while state.is_fetched_now {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            // Not asked whether it still holds: it came after this thread asked.
            if let (true, Some(last)) = (state.answers > before, &state.last) {
                return last.result.clone();
            }
        }
        state.is_fetched_now = true;
        drop(state);
        let fetching = Fetching(self);
        let result = fetch();
        // From now, and not from the beginning: a time-out may have taken longer than its error holds.
        let since = now();
        let until = since.saturating_add(holds(&result));
        let mut state = self.lock();
        state.answers += 1;
        state.last = Some(Answer { result: result.clone(), since, until });
        drop(state);
        drop(fetching);
        result
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // What it guards is valid between any two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::Error;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    #[test]
    fn an_answer_holds_for_its_time_and_no_other() {
        let (shared, asked) = (Shared::default(), AtomicU32::new(0));
        let get = |second: i64, holds: Duration| {
            let fetch = || Ok(asked.fetch_add(1, Ordering::SeqCst));
            shared.get(|| at(second), |_| holds, fetch).unwrap()
        };
        assert_eq!((get(10, SECOND), get(10, SECOND)), (0, 0));
        assert_eq!(get(9, SECOND), 1, "the clock was set back");
        assert_eq!((get(9, SECOND), get(10, Duration::ZERO), get(10, Duration::ZERO)), (1, 2, 3));
    }

    #[test]
    fn threads_that_ask_meanwhile_get_the_answer_that_one_of_them_fetches() {
        let (shared, asked) = (Shared::<()>::default(), AtomicU32::new(0));
        let (shared, asked, ready) = (&shared, &asked, &Barrier::new(8));
        let messages = std::thread::scope(|scope| {
            let get = || {
                ready.wait();
                let fetch = || {
                    asked.fetch_add(1, Ordering::SeqCst);
                    Err(Error::invalid("away"))
                };
                shared.get(|| at(1), |_| SECOND, fetch).unwrap_err().to_string()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!((messages, asked.load(Ordering::SeqCst)), (vec!["away".to_owned(); 8], 1));
    }

    #[test]
    fn one_that_panics_leaves_nobody_waiting() {
        let shared = Shared::<u32>::default();
        let panicking = || shared.get(|| at(1), |_| SECOND, || panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
        assert_eq!(shared.get(|| at(1), |_| SECOND, || Ok(3)).unwrap(), 3);
    }
}
