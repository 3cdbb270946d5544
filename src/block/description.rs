//! A block's description of itself, in the Parquet key-value metadata.

use std::time::Duration;

use crate::model::{BlockId, EntityKey, FeatureBlock, Fingerprint, TimeRange, Timestamp, ViewName};

/// What a block file says of itself, without its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockMeta {
    /// Which block it is.
    pub id: BlockId,
    /// The event time up to which it is complete.
    pub known_until: Timestamp,
    /// When it was computed.
    pub created: Timestamp,
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
const COMPUTE_MS: &str = "larder.compute_ms";
const INPUT_VERSION: &str = "larder.input_version";

/// The description of `block`, as it is written into its file.
pub fn describe_block(block: &FeatureBlock) -> Vec<(String, String)> {
    let id = &block.id;
    let ns = |time: Timestamp| time.as_ns().to_string();
    let mut pairs = vec![
        (VIEW, id.view.to_string()),
        (FINGERPRINT, id.fingerprint.to_string()),
        (ENTITY, serde_json::to_string(&id.entity).unwrap_or_default()),
        (START, ns(id.range.start())),
        (END, ns(id.range.end())),
        (KNOWN_UNTIL, ns(block.known_until)),
        (ROWS, block.batch.num_rows().to_string()),
        (CREATED, ns(block.created)),
        (COMPUTE_MS, (block.compute_time.as_secs_f64() * 1e3).to_string()),
    ];
    pairs.extend(block.input_version.clone().map(|version| (INPUT_VERSION, version)));
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn wrong(key: &str, error: &dyn std::fmt::Display) -> String {
    format!("metadata {key}: {error}")
}

impl BlockMeta {
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
            compute_time: Duration::try_from_secs_f64(compute_ms / 1e3).map_err(|error| wrong(COMPUTE_MS, &error))?,
            input_version: find(INPUT_VERSION).map(str::to_owned),
            rows: get(ROWS)?.parse().map_err(|error: std::num::ParseIntError| wrong(ROWS, &error))?,
        })
    }
}
