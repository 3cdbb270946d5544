//! Key values as names of directories: safe, reversible and distinct on every disk.

use crate::planted::{self, Bug};

/// The longest directory name that is written; the usual limit of file systems is 255 bytes.
const LONGEST: usize = 200;
/// Ends every part of a value that goes on in the next directory. Never the result of escaping.
const CONTINUED: char = '~';

/// Percent-encodes everything except `A-Z 0-9 _ - .`.
///
/// Lower-case letters too: on a disk that ignores case, `spy` would otherwise be the file of `SPY`.
/// Symbols are mostly upper case, and DuckDB decodes the rest.
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        let byte = if planted::is(Bug::CaseFolded) { byte.to_ascii_uppercase() } else { byte };
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.') {
            escaped.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase();
            escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    escaped
}

/// Turns an escaped value back, or `None` where [`escape`] would never have written it.
pub fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, rest @ ..] => {
                let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                rest
            }
            [plain, rest @ ..] => {
                bytes.push(*plain);
                rest
            }
        };
    }
    let value = String::from_utf8(bytes).ok()?;
    // One spelling per value: anything else would be a second path for the same block.
    (escape(&value) == escaped).then_some(value)
}

/// The directories of one key: `key=<value>`, and further ones where the escaped value is long.
pub fn directories(key: &str, value: &str) -> Vec<String> {
    let mut rest = format!("{key}={}", escape(value));
    let mut parts = Vec::with_capacity(1);
    while rest.len() > LONGEST {
        let mut tail = rest.split_off(LONGEST);
        // A directory of these names is this one, or the one above.
        if matches!(tail.as_str(), "." | "..") {
            tail.insert_str(0, &rest.split_off(LONGEST - 2));
        }
        parts.push(std::mem::replace(&mut rest, tail) + "~");
    }
    parts.push(rest);
    parts
}

/// Turns a sequence of directories back into keys and values, or `None` where [`directories`] would never have made it.
pub fn keys_of<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Vec<(String, String)>> {
    let mut keys = Vec::new();
    let mut parts = Vec::new();
    for name in names {
        parts.push(name);
        if name.ends_with(CONTINUED) {
            continue;
        }
        let whole: String = parts.iter().map(|part| part.trim_end_matches(CONTINUED)).collect();
        let (key, value) = whole.split_once('=').filter(|(key, _)| key.is_ascii())?;
        let value = unescape(value)?;
        // Cut elsewhere, it would be a second path for the same block.
        if whole.len() > LONGEST && directories(key, &value) != parts || whole.len() <= LONGEST && parts.len() > 1 {
            return None;
        }
        keys.push((key.to_owned(), value));
        parts.clear();
    }
    parts.is_empty().then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn symbols_stay_readable_and_the_rest_is_safe() {
        assert_eq!(escape("EURUSD"), "EURUSD");
        assert_eq!(escape("BRK/B"), "BRK%2FB");
        assert_eq!(escape("../../x"), "..%2F..%2F%78");
        assert_eq!(escape("é"), "%C3%A9");
        assert_eq!(unescape("%c3%A9"), None, "a second spelling");
        assert_eq!(unescape("%41"), None, "escaped without need");
        assert_eq!(unescape("A/B"), None);
        assert_eq!(unescape("%F"), None);
    }

    #[test]
    fn no_part_of_a_long_value_is_a_directory_of_its_own_meaning() {
        for (before, dots) in [("A", "."), ("A", ".."), (".", "."), (".", "..")] {
            let value = before.repeat(LONGEST - "symbol=".len()) + dots;
            let parts = directories("symbol", &value);
            assert!(parts.iter().all(|part| !matches!(part.as_str(), "." | "..")), "{parts:?}");
            assert_eq!(keys_of(parts.iter().map(String::as_str)), Some(vec![("symbol".to_owned(), value)]));
        }
    }

    #[test]
    fn long_values_go_on_in_further_directories() {
        let value = "é".repeat(300);
        let parts = directories("symbol", &value);
        assert!(parts.iter().all(|part| part.len() <= 255), "{parts:?}");
        assert_eq!(keys_of(parts.iter().map(String::as_str)), Some(vec![("symbol".to_owned(), value)]));
        assert_eq!(keys_of(["symbol=AAA~"]), None, "the end is missing");
        assert_eq!(keys_of(["symbol=AAA~", "B"]), None, "it needs no second directory");
        assert_eq!(keys_of([format!("{}=A", "é".repeat(150)).as_str()]), None, "no name of a key");
    }

    proptest! {
        #[test]
        fn every_value_comes_back_and_stays_apart(a in "\\PC{1,300}", b in "[a-zA-Z]{1,3}", c in "[a-zA-Z]{1,3}") {
            let parts = directories("symbol", &a);
            prop_assert!(parts.iter().all(|part| !part.contains('/') && part != "." && part != ".."));
            prop_assert_eq!(keys_of(parts.iter().map(String::as_str)), Some(vec![("symbol".to_owned(), a)]));
            // Distinct on a disk that ignores case.
            prop_assert_eq!(escape(&b).to_lowercase() == escape(&c).to_lowercase(), b == c);
        }
    }
}
