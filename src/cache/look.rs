//! What the directory looks like as a whole, looked at now and then and not when an exporter asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::core::Core;
use crate::error::Result;
use crate::model::{Timestamp, ViewName};

/// The last look.
#[derive(Default)]
pub struct LastLook(Mutex<Arc<Look>>);

/// What a look sees.
#[derive(Default)]
pub struct Look {
    /// Every view with blocks, in the order of their names.
    pub views: Vec<ViewLook>,
    /// Files in quarantine; `None` before the first look.
    pub quarantined: Option<u64>,
}

/// The blocks of all versions of a view, and how fresh it is.
pub struct ViewLook {
    pub view: ViewName,
    pub blocks: u64,
    pub bytes: u64,
    /// Event time of the newest row of the current version.
    pub newest: Option<Timestamp>,
    /// How long its values are valid.
    pub ttl: Option<Duration>,
}

impl LastLook {
    /// The last one.
    pub fn get(&self) -> Arc<Look> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Core {
    /// Looks at the directory.
    ///
    /// # Errors
    /// Those of the manifest and of listing the directory; the last look stays then.
    pub fn look_around(&self) -> Result<()> {
        let (summaries, current) = self.manifest.read(|query| Ok((query.view_summaries()?, query.current_views()?)))?;
        let mut views: BTreeMap<ViewName, ViewLook> = BTreeMap::new();
        for summary in summaries {
            let view = views.entry(summary.view.clone()).or_insert_with(|| ViewLook {
                view: summary.view.clone(),
                blocks: 0,
                bytes: 0,
                newest: None,
                ttl: None,
            });
            view.blocks += summary.totals.blocks;
            view.bytes += summary.totals.bytes;
            if summary.current {
                view.newest = view.newest.max(summary.newest);
            }
        }
        for version in current {
            if let Some(view) = views.get_mut(&version.view) {
                view.ttl = version.ttl();
            }
        }
        let look = Look { views: views.into_values().collect(), quarantined: Some(self.dir.quarantined()?) };
        *self.look.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(look);
        Ok(())
    }
}
