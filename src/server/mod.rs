//! The monitoring endpoints.

pub mod page;
