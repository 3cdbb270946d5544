//! What threads wait with. `interleavings/` puts other ones in their place, which try the orders in which threads may run.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
