//! One run of the program: its settings, its cache directory, its wish to stop.

use std::path::{Path, PathBuf};

use super::arguments::Common;
use super::interrupt::Interrupt;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Settings};
use crate::error::Result;
use crate::model::Timestamp;

/// What every command works with.
pub struct Session {
    /// The settings, from file and environment.
    pub settings: Settings,
    /// The cache directory, which need not exist.
    pub root: PathBuf,
    /// Whether Ctrl-C was pressed.
    pub interrupt: Interrupt,
}

impl Session {
    /// Reads the settings and finds the cache directory; touches neither.
    ///
    /// # Errors
    /// Those of [`config::load`] and [`config::default_cache_dir`].
    pub fn begin(common: &Common) -> Result<Self> {
        let settings = config::load(common.config.as_deref())?;
        let root = common.cache_dir.clone().map_or_else(config::default_cache_dir, Ok)?;
        Ok(Self { settings, root: std::path::absolute(&root).unwrap_or(root), interrupt: Interrupt::listen() })
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ns(SystemClock.now_ns())
    }

    /// A command that goes on in this cache, as it has to be typed.
    pub fn command(&self, command: &str) -> String {
        match config::default_cache_dir() {
            Ok(default) if default == self.root => format!("larder {command}"),
            _ => format!("larder {command} --cache-dir {}", quoted(&self.root)),
        }
    }
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+~@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/var/cache/larder")), "/var/cache/larder");
        assert_eq!(quoted(Path::new("/my cache")), "'/my cache'");
        assert_eq!(quoted(Path::new("/it's")), r"'/it'\''s'");
    }
}
