//! What threads wait with, as larder's `sync` has it.

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;
