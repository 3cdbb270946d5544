//! What a feature describes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twox_hash::XxHash3_64;

use super::name::KeyName;
use crate::error::{Error, Result};

/// The longest value of a text key, in characters.
pub const LONGEST_VALUE: usize = 300;
/// The most join keys one entity may have.
pub const MOST_KEYS: usize = 8;

/// The type of a join key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Any text of 1 to 300 characters; upper and lower case differ.
    Text,
    /// A 64-bit integer.
    Integer,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "integer",
        })
    }
}

/// The value of a join key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyValue {
    /// A 64-bit integer.
    Integer(i64),
    /// Text.
    Text(Box<str>),
}

impl KeyValue {
    /// The type of this value.
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Integer(_) => KeyType::Integer,
            Self::Text(_) => KeyType::Text,
        }
    }
}

impl From<&str> for KeyValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for KeyValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for KeyValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One or several typed join keys with their values, in the order of the key names.
///
/// Cheap to clone. Two are equal where names, types and values are, in whatever order they were given.
#[derive(Clone)]
pub struct EntityKey(Arc<Inner>);

struct Inner {
    hash: u64,
    pairs: Box<[(KeyName, KeyValue)]>,
}

impl EntityKey {
    /// Checks and keeps the pairs.
    ///
    /// # Errors
    /// `Invalid` for no keys, more than 8, a name twice or one that is no plain name, an empty
    /// value or one of more than 300 characters.
    pub fn new<N: AsRef<str>, V: Into<KeyValue>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        let mut checked = Vec::with_capacity(1);
        for (name, value) in pairs {
            let (name, value) = (KeyName::new(name.as_ref())?, value.into());
            check_value(&name, &value)?;
            checked.push((name, value));
        }
        checked.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = checked.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(a),
            _ => None,
        }) {
            return Err(Error::invalid(format!("join key {twice} is given twice: give each key once")));
        }
        if checked.is_empty() || checked.len() > MOST_KEYS {
            return Err(Error::invalid(format!(
                "an entity has 1 to {MOST_KEYS} join keys, {} were given",
                checked.len()
            )));
        }
        Ok(Self(Arc::new(Inner { hash: hash_of(&checked), pairs: checked.into() })))
    }

    /// The keys with their values, in the order of the names.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&KeyName, &KeyValue)> {
        self.0.pairs.iter().map(|(name, value)| (name, value))
    }

    /// The value of one key.
    pub fn value(&self, name: &str) -> Option<&KeyValue> {
        self.0.pairs.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
    }

    /// A hash that is the same in every process and version.
    pub(crate) fn stable_hash(&self) -> u64 {
        self.0.hash
    }
}

fn check_value(name: &KeyName, value: &KeyValue) -> Result<()> {
    let KeyValue::Text(text) = value else { return Ok(()) };
    let length = text.chars().count();
    if (1..=LONGEST_VALUE).contains(&length) {
        return Ok(());
    }
    let what = if length == 0 { "is empty".to_owned() } else { format!("has {length} characters") };
    Err(Error::invalid(format!("the value of join key {name} {what}: a value has 1 to {LONGEST_VALUE} characters")))
}

fn hash_of(pairs: &[(KeyName, KeyValue)]) -> u64 {
    let mut hasher = XxHash3_64::with_seed(0);
    for (name, value) in pairs {
        // Lengths and tags keep ("a", "bc") apart from ("ab", "c"), and 5 from "5".
        hasher.write(&(name.as_str().len() as u64).to_le_bytes());
        hasher.write(name.as_str().as_bytes());
        match value {
            KeyValue::Integer(number) => {
                hasher.write(&[0]);
                hasher.write(&number.to_le_bytes());
            }
            KeyValue::Text(text) => {
                hasher.write(&[1]);
                hasher.write(&(text.len() as u64).to_le_bytes());
                hasher.write(text.as_bytes());
            }
        }
    }
    hasher.finish()
}

impl PartialEq for EntityKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.pairs == other.0.pairs)
    }
}

impl Eq for EntityKey {}

impl Hash for EntityKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for EntityKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EntityKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.pairs.cmp(&other.0.pairs)
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.pairs().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntityKey({self})")
    }
}

impl Serialize for EntityKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.pairs.len()))?;
        for (name, value) in self.pairs() {
            map.serialize_entry(name.as_str(), value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for EntityKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = EntityKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of join keys, such as {\"symbol\": \"EURUSD\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EntityKey, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, KeyValue>()? {
                    pairs.push(pair);
                }
                EntityKey::new(pairs).map_err(serde::de::Error::custom)
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_keys_does_not_matter() {
        let one = EntityKey::new([("symbol", "EURUSD"), ("venue", "oanda")]).unwrap();
        let other = EntityKey::new([("venue", "oanda"), ("symbol", "EURUSD")]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.stable_hash(), other.stable_hash());
        assert_eq!(one.to_string(), "symbol=EURUSD,venue=oanda");
    }

    #[test]
    fn a_number_is_not_its_text() {
        assert_ne!(EntityKey::new([("id", 5i64)]).unwrap(), EntityKey::new([("id", "5")]).unwrap());
        assert_ne!(
            EntityKey::new([("a", "bc")]).unwrap().stable_hash(),
            EntityKey::new([("ab", "c")]).unwrap().stable_hash()
        );
    }

    #[test]
    fn wrong_keys_are_named() {
        let none: [(&str, &str); 0] = [];
        let cases = [
            (EntityKey::new(none), "1 to 8 join keys, 0 were given"),
            (EntityKey::new([("symbol", "")]), "symbol is empty"),
            (EntityKey::new([("symbol", "é".repeat(301).as_str())]), "301 characters"),
            (EntityKey::new([("Symbol", "A")]), "join key name \"Symbol\""),
            (EntityKey::new([("symbol", "A"), ("symbol", "B")]), "symbol is given twice"),
        ];
        for (result, part) in cases {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn json_round_trips_hostile_values() {
        for value in ["BRK/B", "../../x", "a\"b\\c", "ключ", "\u{0}", "%2F", "="] {
            let key = EntityKey::new([("symbol", KeyValue::from(value)), ("account", KeyValue::from(-7))]).unwrap();
            let text = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<EntityKey>(&text).unwrap(), key, "{text}");
        }
    }
}
