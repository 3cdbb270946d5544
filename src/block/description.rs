//! A block's description of itself, in the Parquet key-value metadata.

use std::time::Duration;

use super::Description;
use crate::model::{BlockId, EntityKey, FeatureBlock, Fingerprint, TimeRange, Timestamp, ViewName};

/// What a block file says of itself, without its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockMeta {
    /// Which block it is.
    pub id: BlockId,
    /// The event time up to which it is complete.
    pub known_until: Timestamp,
    /// When it was computed; of a tail that was extended, when its oldest part was.
    pub created: Timestamp,
    /// When its newest part was computed.
    pub extended: Timestamp,
    /// When the last of the source rows became known that it was computed from, where the source says so.
    pub newest_created: Option<Timestamp>,
    /// How long computing took.
    pub compute_time: Duration,
    /// The version of what it was computed from.
    pub input_version: Option<String>,
    /// How many rows it has.
    pub rows: u64,
}

const VIEW: &str = "larder.view";
const FINGERPRINT: &str = "larder.fingerprint";
const ENTITY: &str = "larder.entity";
const START: &str = "larder.start";
const END: &str = "larder.end";
const KNOWN_UNTIL: &str = "larder.known_until";
const ROWS: &str = "larder.rows";
const CREATED: &str = "larder.created";
const EXTENDED: &str = "larder.extended";
const COMPUTE_MS: &str = "larder.compute_ms";
const INPUT_VERSION: &str = "larder.input_version";
const NEWEST_CREATED: &str = "larder.newest_created";

fn wrong(key: &str, error: &dyn std::fmt::Display) -> String {
    format!("metadata {key}: {error}")
}

impl BlockMeta {
    /// What `block` says of itself.
    pub fn of(block: &FeatureBlock) -> Self {
        Self {
            id: block.id.clone(),
            known_until: block.known_until,
            created: block.created,
            extended: block.extended,
            newest_created: block.newest_created,
            compute_time: block.compute_time,
            input_version: block.input_version.clone(),
            rows: block.batch.num_rows() as u64,
        }
    }

    /// How long computing took, in milliseconds.
    pub fn compute_ms(&self) -> f64 {
        self.compute_time.as_secs_f64() * 1e3
    }

    /// The metadata as it is written into the block's file.
    pub fn description(&self) -> Description {
        let id = &self.id;
        let ns = |time: Timestamp| time.as_ns().to_string();
        let mut pairs = vec![
            (VIEW, id.view.to_string()),
            (FINGERPRINT, id.fingerprint.to_string()),
            // A map of text and numbers always has a JSON form.
            (ENTITY, serde_json::to_string(&id.entity).unwrap_or_default()),
            (START, ns(id.range.start())),
            (END, ns(id.range.end())),
            (KNOWN_UNTIL, ns(self.known_until)),
            (ROWS, self.rows.to_string()),
            (CREATED, ns(self.created)),
            (COMPUTE_MS, self.compute_ms().to_string()),
        ];
        pairs.extend((self.extended != self.created).then(|| (EXTENDED, ns(self.extended))));
        pairs.extend(self.input_version.clone().map(|version| (INPUT_VERSION, version)));
        pairs.extend(self.newest_created.map(|newest| (NEWEST_CREATED, ns(newest))));
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads a description back.
    ///
    /// # Errors
    /// Which key is missing or not understood.
    pub fn parse(description: &[(String, String)]) -> Result<Self, String> {
        let find = |key: &str| description.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let get = |key: &str| find(key).ok_or_else(|| format!("metadata {key} is missing"));
        let ns = |key: &'static str| {
            get(key)?.parse().map(Timestamp::from_ns).map_err(|error: std::num::ParseIntError| wrong(key, &error))
        };
        let id = BlockId {
            view: ViewName::new(get(VIEW)?).map_err(|error| wrong(VIEW, &error))?,
            fingerprint: get(FINGERPRINT)?.parse::<Fingerprint>().map_err(|error| wrong(FINGERPRINT, &error))?,
            entity: serde_json::from_str::<EntityKey>(get(ENTITY)?).map_err(|error| wrong(ENTITY, &error))?,
            range: TimeRange::new(ns(START)?, ns(END)?).map_err(|error| wrong(END, &error))?,
        };
        let compute_ms: f64 =
            get(COMPUTE_MS)?.parse().map_err(|error: std::num::ParseFloatError| wrong(COMPUTE_MS, &error))?;
        Ok(Self {
            id,
            known_until: ns(KNOWN_UNTIL)?,
            created: ns(CREATED)?,
            extended: ns(if find(EXTENDED).is_some() { EXTENDED } else { CREATED })?,
            newest_created: find(NEWEST_CREATED).map(|_| ns(NEWEST_CREATED)).transpose()?,
            compute_time: Duration::try_from_secs_f64(compute_ms / 1e3).map_err(|error| wrong(COMPUTE_MS, &error))?,
            input_version: find(INPUT_VERSION).map(str::to_owned),
            rows: get(ROWS)?.parse().map_err(|error: std::num::ParseIntError| wrong(ROWS, &error))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> BlockMeta {
        let entity = EntityKey::new([("symbol", "ETH/USDT"), ("venue", "\u{0}\"é")]).unwrap();
        BlockMeta {
            id: BlockId {
                view: ViewName::new("prices").unwrap(),
                fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
                entity,
                range: TimeRange::parse("2024-03-01", "2024-03-02").unwrap(),
            },
            known_until: Timestamp::from_ns(7),
            created: Timestamp::from_ns(-7),
            extended: Timestamp::from_ns(-6),
            newest_created: Some(Timestamp::from_ns(-5)),
            compute_time: Duration::from_micros(1234),
            input_version: Some("v7".to_owned()),
            rows: 3,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(BlockMeta::parse(&meta().description()).unwrap(), meta());
        let created = meta().created;
        let without = BlockMeta { input_version: None, newest_created: None, extended: created, ..meta() };
        assert_eq!(BlockMeta::parse(&without.description()).unwrap(), without);
    }

    #[test]
    fn a_missing_or_wrong_key_is_named() {
        for at in 0..meta().description().len() {
            let mut missing = meta().description();
            let (key, _) = missing.remove(at);
            let found = BlockMeta::parse(&missing);
            match key.as_str() {
                INPUT_VERSION => {
                    assert_eq!(found.unwrap().input_version, None);
                    continue;
                }
                EXTENDED => assert_eq!(found.unwrap().extended, meta().created),
                NEWEST_CREATED => assert_eq!(found.unwrap().newest_created, None),
                _ => assert_eq!(found, Err(format!("metadata {key} is missing"))),
            }
            let mut wrong = meta().description();
            wrong[at].1 = "?".to_owned();
            assert!(BlockMeta::parse(&wrong).unwrap_err().contains(&key), "{key}");
        }
    }
}
