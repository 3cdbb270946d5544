//! What the checks and the status page both ask of the manifest.

use super::slo::Requests;
use crate::error::Result;
use crate::manifest::{Query, Totals, ViewSummary};
use crate::model::Timestamp;

/// The answers.
pub(super) struct Survey {
    pub(super) requests: Requests,
    pub(super) totals: Totals,
    pub(super) summaries: Vec<ViewSummary>,
}

impl Survey {
    pub(super) fn read(query: &Query<'_>, now: Timestamp) -> Result<Self> {
        Ok(Self {
            requests: Requests::read(query, None, now)?,
            totals: query.totals()?,
            summaries: query.view_summaries()?,
        })
    }
}
