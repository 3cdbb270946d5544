//! Bugs on purpose, of one test each.

use std::cell::Cell;

#[path = "../../src/planted.rs"]
mod list;

pub use list::Bug;

thread_local! {
    // All threads of a test are one to the operating system.
    static PLANTED: Cell<Bug> = const { Cell::new(Bug::Nothing) };
}

/// Plants a bug for whatever this thread of the operating system runs.
pub fn plant(bug: Bug) {
    PLANTED.set(bug);
}

/// Whether it is planted.
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == bug
}
