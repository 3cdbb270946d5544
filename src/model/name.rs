//! Names that are safe everywhere they end up: as a directory, a metric label, an SQL identifier.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

const LONGEST: usize = 64;

fn check(what: &str, name: &str) -> Result<Arc<str>> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if starts_well && plain && name.len() <= LONGEST {
        return Ok(Arc::from(name));
    }
    let shown: String = name.chars().take(LONGEST + 1).collect();
    Err(Error::invalid(format!(
        "{what} name {shown:?} is not allowed: use 1 to {LONGEST} lower-case letters, digits and underscores, \
         a letter first"
    )))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 64 characters of `a-z 0-9 _`, a letter first.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the name.
            ///
            /// # Errors
            /// `Invalid` where it is empty, too long or holds anything else.
            pub fn new(name: &str) -> Result<Self> {
                check($what, name).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a feature view.
    ViewName,
    "view"
);
name!(
    /// The name of a feature: a column of its view.
    FeatureName,
    "feature"
);
name!(
    /// The name of a join key: what identifies an entity, such as `symbol`.
    KeyName,
    "join key"
);
name!(
    /// The name of an entity: what features describe.
    EntityName,
    "entity"
);
name!(
    /// The name of a source of rows.
    SourceName,
    "source"
);
name!(
    /// The name of a feature service: an ordered list of features that a model reads.
    ServiceName,
    "service"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_names() {
        for good in ["a", "log_ret_5m", "x9", &"v".repeat(64)] {
            assert!(ViewName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "9x", "_x", "Upper", "a-b", "a b", "a/b", "..", "é", "a\0", &"v".repeat(65)] {
            let message = ViewName::new(bad).unwrap_err().to_string();
            assert!(message.starts_with("view name \""), "{message}");
        }
    }
}
