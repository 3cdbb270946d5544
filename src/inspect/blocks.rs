//! The blocks of a cache, page by page, as its manifest knows them.

use std::time::Duration;

use serde::Serialize;

use super::text;
use crate::error::{Error, Result};
use crate::manifest::{BlockFilter, BlockRow, Page, Query};
use crate::model::{EntityKey, TimeRange, Timestamp, ViewName};

/// The most blocks on one page.
pub const MOST_BLOCKS: u64 = 1000;
const USUAL: u64 = 100;
const DAY: Duration = Duration::from_secs(86_400);

/// Which blocks, and which page of them. The default is the first page of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlocksRequest {
    /// Only of this view.
    pub view: Option<ViewName>,
    /// Only of entities that read like this: `symbol=EURUSD`, or the value of a single key alone.
    pub entity: Option<String>,
    /// Only blocks that share an instant with the UTC day that begins here.
    pub day: Option<Timestamp>,
    /// Blocks on a page: 100 unless told otherwise, at most [`MOST_BLOCKS`].
    pub limit: Option<u64>,
    /// Blocks to leave out, which are those of earlier pages.
    pub after: u64,
}

impl BlocksRequest {
    /// Reads the parameters of a page, as they stand in an address.
    ///
    /// # Errors
    /// `Invalid` for an unknown parameter or a value that is not understood.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut request = Self::default();
        for (name, value) in parameters {
            match name {
                _ if value.is_empty() => {}
                "view" => request.view = Some(ViewName::new(value)?),
                "entity" => request.entity = Some(value.to_owned()),
                "day" => request.day = Some(midnight(value)?),
                "limit" => request.limit = Some(number(name, value)?),
                "after" => request.after = number(name, value)?,
                other => {
                    return Err(Error::invalid(format!(
                        "parameter {other:?} is not known: use view, entity, day, limit or after"
                    )));
                }
            }
        }
        Ok(request)
    }
}

fn number(name: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| Error::invalid(format!("{name}={value} is not understood: use a whole number")))
}

fn midnight(value: &str) -> Result<Timestamp> {
    let refused = || Error::invalid(format!("day={value} is not understood: use a date such as 2024-03-01"));
    if value.len() != "2024-03-01".len() {
        return Err(refused());
    }
    value.parse().map_err(|_| refused())
}

/// What `/blocks` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlocksFacts {
    /// Blocks on all pages together.
    pub total: u64,
    /// How many of them come before this page.
    pub after: u64,
    /// The most that a page holds.
    pub limit: u64,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// By view, entity, start and version.
    pub blocks: Vec<BlockFacts>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockFacts {
    /// Its view.
    pub view: String,
    /// The version of the view.
    pub fingerprint: String,
    /// What it describes, such as `symbol=EURUSD`.
    pub entity: String,
    /// Where its span begins.
    #[serde(serialize_with = "text::shown")]
    pub start: Timestamp,
    /// Where its span ends, exclusive.
    #[serde(serialize_with = "text::shown")]
    pub end: Timestamp,
    /// Up to where its values are known.
    #[serde(serialize_with = "text::shown")]
    pub known_until: Timestamp,
    /// Its rows.
    pub rows: u64,
    /// The size of its file.
    pub bytes: u64,
    /// When it was published.
    #[serde(serialize_with = "text::shown")]
    pub created: Timestamp,
    /// When it was last served.
    #[serde(serialize_with = "text::shown")]
    pub last_used: Timestamp,
    /// How often it was served.
    pub uses: u64,
    /// The event time of its last row.
    #[serde(serialize_with = "text::maybe")]
    pub newest: Option<Timestamp>,
    /// `complete` or `tail`.
    pub state: &'static str,
}

impl From<BlockRow> for BlockFacts {
    fn from(row: BlockRow) -> Self {
        Self {
            state: if row.is_complete() { "complete" } else { "tail" },
            view: row.view.to_string(),
            fingerprint: row.fingerprint.to_string(),
            entity: row.entity.to_string(),
            start: row.start,
            end: row.end,
            known_until: row.known_until,
            rows: row.rows,
            bytes: row.bytes,
            created: row.created,
            last_used: row.last_used,
            uses: row.uses,
            newest: row.newest,
        }
    }
}

/// One page of the blocks.
///
/// # Errors
/// `Invalid` for a day beyond the years that exist; those of the manifest.
pub fn blocks(query: &Query<'_>, request: &BlocksRequest) -> Result<BlocksFacts> {
    let limit = request.limit.unwrap_or(USUAL).clamp(1, MOST_BLOCKS);
    let mut facts = BlocksFacts { total: 0, after: request.after, limit, next: None, blocks: Vec::new() };
    let entities = match &request.entity {
        None => Vec::new(),
        Some(text) => {
            let mut known = query.entities(request.view.as_ref())?;
            known.retain(|entity| reads_like(entity, text));
            // No entities would mean all of them.
            if known.is_empty() {
                return Ok(facts);
            }
            known
        }
    };
    let range = request.day.map(|day| TimeRange::new(day, day.saturating_add(DAY))).transpose()?;
    let filter = BlockFilter { view: request.view.clone(), fingerprint: None, entities, range };
    let (total, rows) = query.blocks_page(&filter, Page { after: request.after, limit })?;
    let shown = request.after.saturating_add(rows.len() as u64);
    facts.next = (!rows.is_empty() && shown < total).then_some(shown);
    facts.total = total;
    facts.blocks = rows.into_iter().map(BlockFacts::from).collect();
    Ok(facts)
}

fn reads_like(entity: &EntityKey, text: &str) -> bool {
    let mut pairs = entity.pairs();
    let value = pairs.next().map(|(_, value)| value.to_string());
    entity.to_string() == text || (pairs.next().is_none() && value.as_deref() == Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn parameters_are_understood_or_named() {
        let request = BlocksRequest::parse([
            ("view", "v"),
            ("entity", "symbol=A"),
            ("day", "2024-03-01"),
            ("limit", ""),
            ("after", "5"),
        ]);
        let request = request.unwrap();
        assert_eq!((request.view.unwrap().as_str(), request.entity.as_deref()), ("v", Some("symbol=A")));
        assert_eq!(request.day, Some("2024-03-01T00:00:00Z".parse().unwrap()));
        assert_eq!((request.limit, request.after), (None, 5));
        for (name, value) in
            [("view", "Not A Name"), ("day", "yesterday"), ("day", "2024-03-01T12:00:00Z"), ("limit", "-1"), ("x", "y")]
        {
            let error = BlocksRequest::parse([(name, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}={value}");
            assert!(error.to_string().contains(name) || error.to_string().contains(value), "{error}");
        }
    }

    #[test]
    fn an_entity_is_asked_for_by_its_text_or_its_only_value() {
        let one = EntityKey::new([("symbol", "EURUSD")]).unwrap();
        let two = EntityKey::new([("symbol", "EURUSD"), ("venue", "X")]).unwrap();
        assert!(reads_like(&one, "symbol=EURUSD") && reads_like(&one, "EURUSD") && !reads_like(&one, "EUR"));
        assert!(reads_like(&two, "symbol=EURUSD,venue=X") && !reads_like(&two, "EURUSD"));
    }
}
