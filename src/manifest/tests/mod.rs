//! The whole manifest: journals in, answers out.

mod answers;
mod bad_luck;
mod folding;
mod fuzz;
mod killed;
mod migrating;
mod ordering;
mod rebuilding;
mod scale;
