//! Waiting for the server wherever a thread happens to be.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// What moves the bytes of all connections: one thread.
static RUNTIME: OnceLock<Result<Runtime>> = OnceLock::new();

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What `work` comes to. The thread sleeps meanwhile.
///
/// Not `Runtime::block_on`, which panics on a thread that belongs to a runtime itself: a service may ask for features
/// from anywhere.
pub(super) fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let _entered = RUNTIME.get_or_init(runtime).as_ref().map_err(Clone::clone)?.enter();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    // Whoever waits on a runtime's thread does not yield to it, so that its budget would never be filled again.
    let mut work = pin!(tokio::task::unconstrained(work));
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn runtime() -> Result<Runtime> {
    let built = Builder::new_multi_thread().worker_threads(1).thread_name("larder-postgres").enable_all().build();
    built.map_err(|error| {
        Error::with_source(ErrorKind::Unavailable, "the thread that talks to PostgreSQL cannot be started", error)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_of_a_runtime_may_wait() {
        let late = async || {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(7)
        };
        let outer = Builder::new_current_thread().build().unwrap();
        assert_eq!(outer.block_on(async { wait(late()) }).unwrap(), 7);
        assert_eq!(wait(late()).unwrap(), 7);
    }
}
