//! Functions in Rust that definitions name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use crate::cache::ComputeError;
use crate::definition::Parameter;

/// What a registered function is given: the rows of one entity in the order of their event times.
#[derive(Debug, Clone, Copy)]
pub struct FunctionRows<'a> {
    /// Event times in nanoseconds UTC, strictly increasing.
    pub times: &'a [i64],
    /// The columns of the view's source, as long as `times`.
    pub columns: &'a RecordBatch,
    /// What the definition gives it.
    pub parameters: &'a BTreeMap<String, Parameter>,
}

/// Returns one value for each row, from that row and those before it alone.
pub(super) type Function = dyn Fn(&FunctionRows<'_>) -> Result<ArrayRef, ComputeError> + Send + Sync;

/// The functions that a program has registered.
pub(super) type Functions = BTreeMap<String, Arc<Function>>;
