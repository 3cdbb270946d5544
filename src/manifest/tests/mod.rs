//! The whole manifest: journals in, answers out.

mod answers;
mod bad_luck;
mod folding;
mod killed;
mod ordering;
mod rebuilding;
mod scale;
