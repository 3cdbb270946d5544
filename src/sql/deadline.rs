//! Queries that take too long are interrupted, by one thread for all of a sandbox.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use duckdb::{Connection, InterruptHandle};

/// How soon a query is interrupted again that went on: DuckDB forgets an interrupt that comes before a statement begins.
const PAUSE: Duration = Duration::from_millis(50);

/// The queries of a sandbox that run now. The thread that watches them begins with the first and ends with the sandbox.
pub(super) struct Deadlines {
    limit: Duration,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: BTreeMap<u64, Running>,
    begun: u64,
    is_watched: bool,
    /// When the thread looks by itself; `None` while it sleeps until it is woken.
    looks_at: Option<Instant>,
    is_over: bool,
}

struct Running {
    handle: Arc<InterruptHandle>,
    due: Instant,
    is_overdue: bool,
}

/// A query that runs. Once it is dropped, nothing interrupts its connection any more.
pub(super) struct Deadline<'a> {
    watch: &'a Watch,
    /// `None` for a limit that lies beyond all time.
    number: Option<u64>,
}

impl Deadlines {
    pub fn new(limit: Duration) -> Self {
        Self { limit, watch: Arc::default() }
    }

    /// How long a query may run.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Begins to watch what runs on the connection.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn begin(&self, connection: &Connection) -> io::Result<Deadline<'_>> {
        let Some(due) = Instant::now().checked_add(self.limit) else {
            return Ok(Deadline { watch: &self.watch, number: None });
        };
        let mut state = self.watch.lock();
        if !state.is_watched {
            let watch = Arc::clone(&self.watch);
            std::thread::Builder::new().name("larder-sql-limit".to_owned()).spawn(move || watch.run())?;
            state.is_watched = true;
        }
        state.begun += 1;
        let number = state.begun;
        state.running.insert(number, Running { handle: connection.interrupt_handle(), due, is_overdue: false });
        // Seldom: it looks at the end of a query's time, although most are done long before.
        if state.looks_at.is_none_or(|at| due < at) {
            self.watch.changed.notify_one();
        }
        Ok(Deadline { watch: &self.watch, number: Some(number) })
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.watch.lock().is_over = true;
        self.watch.changed.notify_one();
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What it guards is valid between any two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.is_over {
            let now = Instant::now();
            // Under the lock, under which a query that is done leaves: its connection may have the next one.
            for running in state.running.values_mut().filter(|running| running.due <= now) {
                running.handle.interrupt();
                (running.is_overdue, running.due) = (true, now + PAUSE);
            }
            state.looks_at = state.running.values().map(|running| running.due).min();
            state = match state.looks_at {
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Deadline<'_> {
    /// Whether it has been interrupted.
    pub fn is_overdue(&self) -> bool {
        let state = self.watch.lock();
        self.number.and_then(|number| state.running.get(&number)).is_some_and(|running| running.is_overdue)
    }
}

impl Drop for Deadline<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.watch.lock().running.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough that a watch that went on would interrupt it several times.
    const LONG: &str = "SELECT count(*) FROM range(20000) a, range(20000) b WHERE hash(a.range, b.range) = 7";

    #[test]
    fn an_interrupt_that_comes_when_a_query_is_done_does_not_hit_the_next() {
        let connection = Connection::open_in_memory().unwrap();
        let deadlines = Deadlines::new(Duration::ZERO);
        let done = deadlines.begin(&connection).unwrap();
        while !done.is_overdue() {
            std::thread::yield_now();
        }
        drop(done);
        let began = Instant::now();
        let counted = connection.query_row(LONG, [], |row| row.get::<_, i64>(0));
        assert_eq!(counted.unwrap(), 0, "after {:?}", began.elapsed());
    }

    #[test]
    fn a_query_that_begins_after_the_interrupt_is_interrupted_too() {
        let connection = Connection::open_in_memory().unwrap();
        let deadlines = Deadlines::new(Duration::ZERO);
        let running = deadlines.begin(&connection).unwrap();
        while !running.is_overdue() {
            std::thread::yield_now();
        }
        let endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b";
        let error = connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
        assert!(error.to_string().contains("Interrupted"), "{error}");
    }

    #[test]
    fn the_thread_ends_with_the_sandbox() {
        let connection = Connection::open_in_memory().unwrap();
        let deadlines = Deadlines::new(Duration::from_secs(3600));
        drop(deadlines.begin(&connection).unwrap());
        let watch = Arc::downgrade(&deadlines.watch);
        drop(deadlines);
        // It holds the only other one.
        while watch.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
