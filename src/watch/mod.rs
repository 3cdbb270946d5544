//! A running service follows its definitions, its settings and the files of its sources.
//!
//! What the operating system tells of files only says when to look. What is found by looking decides: the text of
//! definitions and settings, and the content of rows. So an event that was lost costs time, never a right value.
//!
//! | module | |
//! |---|---|
//! | `live` | features that follow their files |
//! | `look` | one look at all of them |
//! | `wake` | when to look |

mod live;
mod look;
#[cfg(test)]
mod tests;
mod wake;

pub use live::{Live, LiveBuilder, Origin};
