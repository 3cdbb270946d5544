//! Features computed as their definitions say, and answered through the cache.
//!
//! | module | |
//! |---|---|
//! | `features` | views and services of a set of definitions, over one store |
//! | `bound` | a view with where its rows come from |
//! | `opening` | a source that is opened when it is needed first |
//! | `computing` | a bound view as what the store computes from |
//! | `shared` | an answer that many ask for and one fetches |
//! | `recipe` | how one view is computed |
//! | `rows` | the rows that it is computed from |
//! | `push` | rows that are pushed, and what has to follow |
//! | `readers` | the views that are computed from pushed rows, of whatever program |
//! | `function` | functions in Rust that definitions name |
//! | `changes` | what became of rows since blocks were computed from them |
//! | `validate` | whether views keep what they declare |
//! | `service` | the features of a service at given times |
//! | `on_demand` | features that are computed from others at the time of a request |
//! | `asof` | which row counts at a time |
//! | `known`, `past` | which was known at a time; features of what was known then |

mod asof;
mod bound;
mod changes;
mod computing;
mod features;
mod function;
mod known;
mod on_demand;
mod opening;
mod past;
mod push;
mod readers;
mod recipe;
mod rows;
mod service;
mod shared;
#[cfg(test)]
mod tests;
mod validate;

pub use asof::{Match, as_of};
pub use changes::{Changed, Changes};
pub use features::{Features, FeaturesBuilder};
pub use function::FunctionRows;
pub use push::Push;
pub use service::{Presence, ServiceRows};
pub use validate::{Objection, Reason, Validation};
