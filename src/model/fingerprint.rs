//! The hash of everything that decides a view's values.

use std::fmt;
use std::str::FromStr;

use twox_hash::XxHash3_128;

use crate::error::{Error, Result};

/// Hash of everything that decides a view's values: definition, parameters, code version and format version.
///
/// Blocks of different fingerprints never mix: a changed definition begins with an empty cache.
/// It prints as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The xxh3-128 hash of `definition`, which must be the same bytes for the same definition in every version.
    pub(crate) fn of(definition: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(definition))
    }

    /// Half of its bits, for hash tables.
    pub(crate) const fn low_bits(self) -> u64 {
        (self.0 & u64::MAX as u128) as u64
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let canonical = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parsed = canonical.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        parsed.map(Self).ok_or_else(|| {
            Error::invalid(format!("fingerprint {text:?} is not understood: it has 32 lower-case hexadecimal digits"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_prints_and_nothing_else() {
        let print = Fingerprint::of(b"definition");
        assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
        for bad in ["", "abc", &"g".repeat(32), &"A".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
