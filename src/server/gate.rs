//! Work that takes a while: a few at a time, some may wait, the rest is sent away.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets a few in at a time.
#[derive(Clone)]
pub struct Gate {
    /// Those at work.
    working: Arc<Semaphore>,
    /// Those at work or waiting.
    inside: Arc<Semaphore>,
}

/// Somebody is inside until this is dropped.
pub struct Entered {
    _working: OwnedSemaphorePermit,
    _inside: OwnedSemaphorePermit,
}

impl Gate {
    /// `working` at a time, while at most `waiting` wait.
    pub fn new(working: usize, waiting: usize) -> Self {
        Self { working: Arc::new(Semaphore::new(working)), inside: Arc::new(Semaphore::new(working + waiting)) }
    }

    /// Waits for a turn; `None` at once where too many wait already.
    pub async fn enter(&self) -> Option<Entered> {
        let inside = Arc::clone(&self.inside).try_acquire_owned().ok()?;
        let working = Arc::clone(&self.working).acquire_owned().await.ok()?;
        Some(Entered { _working: working, _inside: inside })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_works_one_waits_and_the_third_is_sent_away() {
        let gate = Gate::new(1, 1);
        let first = gate.enter().await;
        assert!(first.is_some());
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.is_some() }
        });
        while gate.inside.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(gate.enter().await.is_none());
        drop(first);
        assert!(second.await.unwrap());
    }
}
