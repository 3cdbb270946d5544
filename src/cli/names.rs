//! What a mistyped name may have meant.

use std::collections::BTreeSet;

use crate::config::distance;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ViewName;

/// So many names are listed before the rest is only counted.
const MOST: usize = 5;

/// Refuses a view that the cache has never seen.
///
/// # Errors
/// `NotFound`, naming the views that there are.
pub fn check_view(wanted: &ViewName, known: &BTreeSet<ViewName>) -> Result<()> {
    if known.contains(wanted) {
        return Ok(());
    }
    let message = match existing(wanted.as_str(), known.iter().map(ViewName::as_str)) {
        none if none.is_empty() => format!("there is no view {wanted}: this cache has no views yet"),
        names => format!("there is no view {wanted} in this cache, there is {names}"),
    };
    Err(Error::new(ErrorKind::NotFound, message))
}

/// The names that exist, those most like `wanted` first, as the end of a sentence.
pub fn existing<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names = nearest_first(wanted, names);
    let listed: Vec<&str> = names.iter().take(MOST).copied().collect();
    match names.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{} and {more} more", listed.join(", ")),
        _ => listed.join(", "),
    }
}

/// The names, those most like `wanted` first.
pub fn nearest_first<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.into_iter().collect();
    let lower = wanted.to_lowercase();
    names.sort_by_cached_key(|name| (distance(&name.to_lowercase(), &lower), *name));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_the_rest_is_counted() {
        let names = ["symbol=ETHUSD", "symbol=EURUSD", "symbol=GBPUSD", "a", "b", "c", "d"];
        let listed = existing("symbol=eurusd", names);
        assert!(listed.starts_with("symbol=EURUSD, symbol="), "{listed}");
        assert!(listed.ends_with("and 2 more"), "{listed}");
        assert_eq!(existing("x", ["y"]), "y");
    }
}
