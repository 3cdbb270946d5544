//! What is in a cache and how it is doing: facts for the program and the status page, none of them for a
//! request.

mod alerts;
mod blocks;
pub mod explain;
pub mod health;
pub mod limits;
pub mod quantity;
mod slo;
mod status;
mod survey;
mod text;

pub use alerts::{ALERTS, Alert, RUNBOOK, Severity, Subject};
pub use blocks::{BlockFacts, BlocksFacts, BlocksRequest, MOST_BLOCKS, blocks};
pub use slo::{Requests, SloFacts};
pub use status::{Bin, BudgetPoint, DiskStatus, SilentFacts, StatusFacts, Verdict, ViewStatus, WorstMiss};
