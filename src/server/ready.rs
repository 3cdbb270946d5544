//! Whether a cache is in a state to be used. A service goes on computing where it is not.

use serde::Serialize;

use crate::cache::FeatureStore;
use crate::error::Result;

/// What `/ready` says.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Whether every check passed.
    pub ready: bool,
    /// The checks.
    pub checks: [Check; 3],
}

/// One condition.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What is wrong; empty where nothing is.
    pub problem: String,
}

impl Readiness {
    /// Looks at the cache directory, the manifest and the disk.
    pub fn of(store: &FeatureStore) -> Self {
        let checks = [
            check("cache directory can be written", store.cache_dir().probe()),
            check("manifest can be folded", store.manifest().probe()),
            check("free disk is above the reserve", room(store)),
        ];
        Self { ready: checks.iter().all(|check| check.ok), checks }
    }
}

fn check(name: &'static str, result: Result<()>) -> Check {
    Check { name, ok: result.is_ok(), problem: result.err().map(|error| error.to_string()).unwrap_or_default() }
}

fn room(store: &FeatureStore) -> Result<()> {
    let (free, reserve) = (store.cache_dir().free_bytes()?, store.settings().reserve());
    if free < reserve {
        let what = format!(
            "{free} bytes are free, the reserve (disk.reserve_gb) is {reserve}: nothing is kept until there is more"
        );
        return Err(crate::error::Error::new(crate::error::ErrorKind::Unavailable, what));
    }
    Ok(())
}
