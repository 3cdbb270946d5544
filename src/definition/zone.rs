//! Time zones by their names.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// A time zone of the IANA database, such as `America/Bogota`.
///
/// The database is the one built into the program, so that a definition means the same on every machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: Box<str>,
    rules: TimeZone,
}

impl Zone {
    /// The zone of this name.
    ///
    /// # Errors
    /// `Invalid` where there is none.
    pub fn new(name: &str) -> Result<Self> {
        let known = TimeZone::get(name).ok().and_then(|rules| Some(Self { name: rules.iana_name()?.into(), rules }));
        known.ok_or_else(|| {
            Error::invalid(format!("there is no time zone {name:?}: use an IANA name such as \"America/Bogota\""))
        })
    }

    /// Universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// Its name, spelt as the database spells it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_name_and_nothing_else() {
        assert_eq!(Zone::new("america/bogota").unwrap().name(), "America/Bogota");
        assert_eq!(Zone::new("UTC").unwrap(), Zone::utc());
        for bad in ["", "Bogota", "Etc/Unknown", "+05:00", "../UTC"] {
            assert!(Zone::new(bad).is_err(), "{bad}");
        }
    }
}
