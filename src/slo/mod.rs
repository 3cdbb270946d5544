//! The service level: one event per request, counted, kept by time, and compared with the objective.

mod counts;
mod ledger;
mod report;
mod series;

pub use counts::Counts;
pub use ledger::{Ledger, MinuteCounts};
pub use report::{BudgetState, ErrorBudget, SloReport, WINDOWS, Window, WindowReport, report};
pub use series::Series;
