//! Locks between processes. One stripe: what waits for more than it has to does nothing wrong.
//!
//! No process is stopped here, so nobody's patience ends.

use std::io;
use std::sync::{Arc, PoisonError};

use shuttle::sync::{Condvar, Mutex, MutexGuard};

/// The file of a lock: whether somebody has it.
#[derive(Default)]
struct LockFile {
    held: Mutex<bool>,
    released: Condvar,
}

/// Where the file lies; another one once somebody has removed it.
#[derive(Default)]
pub struct Stripe(Mutex<Arc<LockFile>>);

pub struct Locks(pub Arc<Stripe>);

pub struct StripeGuard<'a> {
    stripe: &'a Stripe,
    file: Arc<LockFile>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stripe {
    /// Who has it keeps it, and the next one takes another.
    pub fn remove_file(&self) {
        *lock(&self.0) = Arc::default();
    }

    fn file(&self) -> Arc<LockFile> {
        Arc::clone(&lock(&self.0))
    }
}

impl Locks {
    pub fn publish(&self, _: u64) -> io::Result<StripeGuard<'_>> {
        loop {
            let file = self.0.file();
            let held = file.released.wait_while(lock(&file.held), |held| *held);
            *held.unwrap_or_else(PoisonError::into_inner) = true;
            let guard = StripeGuard { stripe: &self.0, file };
            if guard.check().is_ok() {
                return Ok(guard);
            }
        }
    }

    pub fn publish_in_passing(&self, hash: u64) -> io::Result<StripeGuard<'_>> {
        self.publish(hash)
    }
}

impl StripeGuard<'_> {
    pub fn check(&self) -> io::Result<()> {
        let is_linked = Arc::ptr_eq(&self.stripe.file(), &self.file);
        is_linked.then_some(()).ok_or_else(|| io::Error::other("the file of its lock was removed meanwhile"))
    }
}

impl Drop for StripeGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.file.held) = false;
        self.file.released.notify_all();
    }
}
