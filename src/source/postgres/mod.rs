//! Rows of one entity from a PostgreSQL database.
//!
//! | module | |
//! |---|---|
//! | `query` | the rows of a range, the entities, the newest row |
//! | `select` | what is asked, as SQL with its values apart |
//! | `value` | types and values as the server sends and takes them |
//! | `database` | connections, and one state of the database per reading |
//! | `failure` | what an error of the server means to whoever defined the source |
//! | `wait` | waiting for the server wherever a thread happens to be |

mod database;
mod failure;
mod query;
mod select;
mod value;
mod wait;

pub(super) use database::Database;
pub(super) use query::Query;
