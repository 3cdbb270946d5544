//! Log lines that would be written with every request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a kind of line keeps silent.
const PAUSE: Duration = Duration::from_secs(60);

/// Lets the first line of each kind through, and then one a minute.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<HashMap<String, Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    left_out: u64,
}

impl Repeats {
    /// How many lines of this kind were left out since the last, where one may be written now; `None` where this one
    /// is left out too. Kinds are few: names of views at most, never of entities.
    pub fn left_out(&self, kind: &str) -> Option<u64> {
        self.left_out_at(kind, Instant::now())
    }

    fn left_out_at(&self, kind: &str, now: Instant) -> Option<u64> {
        // A panic between any two steps leaves at worst a line too many.
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(said) = kinds.get_mut(kind) else {
            kinds.insert(kind.to_owned(), Said { at: now, left_out: 0 });
            return Some(0);
        };
        if now.duration_since(said.at) < PAUSE {
            said.left_out += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_written_at_once_and_then_one_a_minute_with_the_number_left_out() {
        let (repeats, begin) = (Repeats::default(), Instant::now());
        let at = |kind, seconds| repeats.left_out_at(kind, begin + Duration::from_secs(seconds));
        assert_eq!(at("publish", 0), Some(0));
        assert_eq!((at("publish", 1), at("publish", 59)), (None, None));
        assert_eq!(at("read", 59), Some(0), "another kind");
        assert_eq!(at("publish", 60), Some(2));
        assert_eq!(at("publish", 61), None);
        assert_eq!(at("publish", 1000), Some(1));
    }
}
