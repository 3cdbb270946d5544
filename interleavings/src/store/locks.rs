//! Locks between processes. One stripe: what waits for more than it has to does nothing wrong.

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

impl Locks {
    pub fn exclusive(&self, _: Purpose, _: u64) -> io::Result<MutexGuard<'_, ()>> {
        self.0.0.lock().map_err(|_| io::Error::other("somebody panicked"))
    }
}
