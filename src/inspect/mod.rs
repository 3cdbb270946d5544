//! What is in a cache and how it is doing: facts for the program and the status page, none of them for a
//! request.

mod slo;

pub use slo::{Requests, SloFacts};
