//! A source that is opened when it is needed first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::shared::Shared;
use crate::cache::FeatureStore;
use crate::definition::{Environment, SourceDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;
use crate::source::Reader;

/// How long the newest row of a database is remembered. An older one is no wrong one: less is kept.
const REMEMBERED: Duration = Duration::from_secs(1);

/// A source that is opened when it is needed first, so that one that is away harms only those who need it.
///
/// Those who need it at the same time wait for one attempt, not for one after another, and share its error. A server
/// that cannot be reached is not tried again within the store's back-off for errors.
pub(super) struct Opening {
    pub(super) definition: SourceDefinition,
    environment: Environment,
    /// Never held while a source is asked.
    reader: Mutex<Option<Arc<Reader>>>,
    opened: Shared<Arc<Reader>>,
    newest: Shared<Option<Timestamp>>,
    away: Mutex<Option<Away>>,
}

/// A server could not be reached, and is not tried again within these times.
struct Away {
    error: Error,
    since: Timestamp,
    until: Timestamp,
}

impl Opening {
    pub(super) fn new(definition: SourceDefinition, environment: Environment) -> Self {
        Self {
            definition,
            environment,
            reader: Mutex::default(),
            opened: Shared::default(),
            newest: Shared::default(),
            away: Mutex::default(),
        }
    }

    /// A reader that knows the files as they are now. Where they cannot be opened, the one before stays.
    pub(super) fn reopen(&self) -> Result<Arc<Reader>> {
        let reader = Arc::new(Reader::open(&self.definition, &self.environment)?);
        *lock(&self.reader) = Some(Arc::clone(&reader));
        Ok(reader)
    }

    pub(super) fn reader(&self, store: &FeatureStore) -> Result<Arc<Reader>> {
        let opened = || lock(&self.reader).clone();
        if let Some(reader) = opened() {
            return Ok(reader);
        }
        let open = || match opened() {
            Some(reader) => Ok(reader),
            None => self.reopen(),
        };
        self.opened.get(|| store.now(), |result| backoff(store, result), open)
    }

    /// What `ask` makes of the reader, or, where its server was not reached a moment ago, the error of then.
    pub(super) fn ask<T>(&self, store: &FeatureStore, ask: impl FnOnce(&Reader) -> Result<T>) -> Result<T> {
        let reader = self.reader(store)?;
        if let Some(Away { error, since, until }) = &*lock(&self.away)
            && (*since..*until).contains(&store.now())
        {
            return Err(error.clone());
        }
        let answer = ask(&reader);
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Unavailable
            && reader.is_unreachable()
        {
            // From now: it may have taken longer than the back-off to find out.
            let since = store.now();
            let until = since.saturating_add(store.settings().compute.error_backoff);
            *lock(&self.away) = Some(Away { error: error.clone(), since, until });
        }
        answer
    }

    /// The event time of the newest row of all. It may be that of a moment ago, where that is an older one.
    pub(super) fn newest(&self, store: &FeatureStore) -> Result<Option<Timestamp>> {
        let ask = || self.ask(store, |reader| reader.newest(None));
        // Of files always as they are now: one that is written in place may have lost rows for a moment.
        let holds = |result: &Result<_>| match result {
            Ok(_) if self.definition.kind.is_database() => REMEMBERED,
            result => backoff(store, result),
        };
        self.newest.get(|| store.now(), holds, ask)
    }
}

/// How long an error is answered again. What is not `Unavailable` is asked anew: somebody may just have mended it.
fn backoff<T>(store: &FeatureStore, result: &Result<T>) -> Duration {
    match result {
        Err(error) if error.kind() == ErrorKind::Unavailable => store.settings().compute.error_backoff,
        _ => Duration::ZERO,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is valid between any two steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::net::TcpListener;
    use std::sync::Barrier;

    use super::*;
    use crate::clock::ManualClock;
    use crate::compute::Features;
    use crate::definition::Definitions;
    use crate::model::{EntityKey, TimeRange, ViewName};

    /// How often somebody has connected since the last time. Nothing is accepted before, so nobody gets an answer.
    fn attempts(server: &TcpListener) -> usize {
        server.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| server.accept().ok()).count()
    }

    #[test]
    fn threads_that_need_a_server_that_says_nothing_wait_for_one_attempt() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "[entity.symbol]\n[source.bars]\nkind = \"postgres\"\nurl = \"postgres://me:${{PASSWORD}}@{}/market\"\n\
             event_time = \"at\"\ntable = \"bars\"\nconnect_timeout = \"200ms\"\n\
             [view.v]\nentity = \"symbol\"\nsource = \"bars\"\n[view.v.features]\nx = {{ column = \"x\" }}\n",
            server.local_addr().unwrap()
        );
        let environment = [("PASSWORD".to_owned(), "hush".to_owned())].into_iter().collect();
        let dir = tempfile::tempdir().unwrap();
        let definitions = Definitions::of_texts([(dir.path().join("a.toml"), text)], environment).unwrap();
        let clock = Arc::new(ManualClock::new(1_709_856_000_000_000_000));
        let store = FeatureStore::builder(dir.path().join("cache")).clock(Arc::clone(&clock)).open().unwrap();
        let features = Features::builder(store, definitions).open().unwrap();
        let ask = |symbol: usize| {
            let entity = EntityKey::new([("symbol", format!("S{symbol}"))]).unwrap();
            let range = TimeRange::parse("2024-03-01", "2024-03-02").unwrap();
            features.get_or_compute(&ViewName::new("v").unwrap(), &entity, range).unwrap_err().to_string()
        };
        let ready = Barrier::new(8);
        std::thread::scope(|scope| {
            let (ask, ready) = (&ask, &ready);
            let asking = |symbol| {
                scope.spawn(move || {
                    ready.wait();
                    ask(symbol)
                })
            };
            let threads: Vec<_> = (0..8).map(asking).collect();
            for thread in threads {
                let error = thread.join().unwrap();
                assert!(error.contains("did not answer within 200ms"), "{error}");
            }
        });
        assert_eq!(attempts(&server), 1);
        assert!(ask(8).contains("did not answer within 200ms"));
        assert_eq!(attempts(&server), 0, "within the back-off");
        clock.advance(Duration::from_millis(1_001));
        ask(9);
        assert_eq!(attempts(&server), 1);
    }
}
