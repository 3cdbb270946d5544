//! Cleaning, invalidating, verifying and repairing a cache directory, beside any number of services.

mod clean;
mod invalidate;
mod repair;
mod scan;
mod verify;
mod victims;

pub use clean::{CleanOptions, CleanReport, Removal, clean, clean_if_needed};
pub use invalidate::{Scope, invalidate};
pub use repair::{RepairReport, rebuild, rebuild_anyway, repair};
pub use verify::{Finding, FindingKind, VerifyReport, verify};
pub use victims::{Limits, Reason, Victim, victims};

/// Told how far a long task is; returns whether to go on.
pub trait Progress {
    /// So many units are done, of so many in all where that is known.
    fn advance(&mut self, done: u64, total: Option<u64>) -> bool;
}

/// Goes on to the end and tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn advance(&mut self, _: u64, _: Option<u64>) -> bool {
        true
    }
}

impl<F: FnMut(u64, Option<u64>) -> bool> Progress for F {
    fn advance(&mut self, done: u64, total: Option<u64>) -> bool {
        self(done, total)
    }
}
