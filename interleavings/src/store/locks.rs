//! Locks between processes. One stripe: what waits for more than it has to does nothing wrong.
//!
//! No process is stopped here, so nobody's patience ends, and nobody removes the file of a lock.

use std::io;
use std::sync::Arc;

use shuttle::sync::{Mutex, MutexGuard};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Publish,
}

#[derive(Default)]
pub struct Stripe(Mutex<()>);

pub struct Locks(pub Arc<Stripe>);

pub struct StripeGuard<'a>(MutexGuard<'a, ()>);

impl Locks {
    pub fn exclusive(&self, _: Purpose, _: u64) -> io::Result<StripeGuard<'_>> {
        self.0.0.lock().map(StripeGuard).map_err(|_| io::Error::other("somebody panicked"))
    }

    pub fn exclusive_in_passing(&self, purpose: Purpose, hash: u64) -> io::Result<StripeGuard<'_>> {
        self.exclusive(purpose, hash)
    }
}

impl StripeGuard<'_> {
    pub fn check(&self) -> io::Result<()> {
        Ok(())
    }
}
