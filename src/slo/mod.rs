//! The service level: one event per request, counted, kept by time, and compared with the objective.

mod counts;
mod ledger;
mod report;
mod series;

pub use counts::{Counts, MinuteCounts};
pub use ledger::Ledger;
pub use report::{
    BudgetState, ErrorBudget, FEWEST_REQUESTS, LONGEST, SloReport, WINDOWS, Window, WindowReport, below, report,
};
pub use series::Series;
