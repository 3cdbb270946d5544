//! What is in a cache and how it is doing: facts for the program and the status page, none of them for a
//! request.

pub mod quantity;
mod slo;
mod status;

pub use slo::{Requests, SloFacts};
pub use status::{AlertLevel, AlertState, Bin, BudgetPoint, DiskStatus, StatusFacts, Verdict, ViewStatus, WorstMiss};
