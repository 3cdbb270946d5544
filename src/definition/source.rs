//! Where rows come from.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::canonical::nanoseconds;
use super::connection::PostgresUrl;
use super::place::Place;
use super::template::PathPattern;
use super::value_type::ValueType;
use super::zone::Zone;
use crate::model::{KeyName, SourceName};

/// Where rows come from, and how they are to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceDefinition {
    /// Its name.
    pub name: SourceName,
    /// Where it is defined.
    pub place: Place,
    /// What holds the rows.
    pub kind: SourceKind,
    /// The column of the event time. A push without one uses `event_timestamp`.
    pub event_time: String,
    /// The column of the time at which a row became known, where there is one.
    pub created_time: Option<String>,
    /// The zone of dates and of times without a zone. Default: UTC.
    pub time_zone: Zone,
    /// What whole numbers in the time columns count since 1970-01-01T00:00:00Z. Without it a number is no time.
    pub time_unit: Option<EpochUnit>,
    /// Which end of its bar a row's event time is. Default: the close.
    pub label: Label,
    /// How long after an event its row may still arrive. Default: 60 s.
    pub lateness: Duration,
    /// Which columns hold the entity's keys.
    pub keys: SourceKeys,
    /// One column per value, or one row per value. Default: wide.
    pub layout: Layout,
    /// The columns that its rows have, by their names here, with their names in the data (in a long table, the
    /// names of the series). `None`: those of the data, under their own names.
    pub columns: Option<BTreeMap<String, String>>,
    /// The types that columns, by their names here, are cast to strictly. For a push: all of its columns.
    pub types: BTreeMap<String, ValueType>,
    /// Which of several rows of one entity and event time counts, after the newest created time has won. Default:
    /// the last; of a database, whose rows have no order, always an error.
    pub on_duplicate: OnDuplicate,
    /// What a row without an event time is. Default: an error.
    pub on_null_time: OnNullTime,
    /// What is possible in columns, by their names here.
    pub valid: BTreeMap<String, Validity>,
    /// What a null becomes. Default: a null.
    pub fill: Option<Fill>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

impl SourceDefinition {
    /// The columns of its rows by their names here, without times and keys; `None` where only the data knows.
    pub fn known_columns(&self) -> Option<Vec<&str>> {
        match (&self.kind, &self.columns) {
            (SourceKind::Push, _) => Some(self.types.keys().map(String::as_str).collect()),
            (_, Some(columns)) => Some(columns.keys().map(String::as_str).collect()),
            (_, None) => None,
        }
    }
}

/// What holds the rows of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// Parquet files.
    Parquet {
        /// Which; directories named `key=value` are columns.
        paths: Vec<PathPattern>,
    },
    /// Text files with a row per line.
    Csv {
        /// Which; directories named `key=value` are columns.
        paths: Vec<PathPattern>,
        /// How they are written.
        format: CsvFormat,
    },
    /// A PostgreSQL database.
    Postgres(Postgres),
    /// Rows that a program pushes.
    Push,
}

impl SourceKind {
    /// The kind's name in a definition.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet { .. } => "parquet",
            Self::Csv { .. } => "csv",
            Self::Postgres(_) => "postgres",
            Self::Push => "push",
        }
    }

    /// Whether a server is asked for the rows.
    pub fn is_database(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// How CSV files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CsvFormat {
    /// What stands between values. Default: a comma.
    pub delimiter: char,
    /// Whether the first line names the columns; otherwise they are `column_1`, `column_2` and so on. Default: true.
    pub header: bool,
    /// The text that means null. Default: none at all.
    pub null: String,
    /// What stands before the digits of a fraction. Default: a point.
    pub decimal: char,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: ',', header: true, null: String::new(), decimal: '.' }
    }
}

/// A PostgreSQL database, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Which.
    pub url: PostgresUrl,
    /// What is read from it.
    pub rows: PostgresRows,
    /// How long it may take to let in. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long it may take to answer one question. Default: 30 s.
    pub statement_timeout: Duration,
}

/// What is read from a PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresRows {
    /// A table, as the database names it: `bars_5m` or `market.bars_5m`.
    Table(String),
    /// The rows of a `SELECT`.
    Query(String),
}

/// What a whole number that is a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EpochUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl EpochUnit {
    /// How many nanoseconds it is.
    pub const fn nanoseconds(self) -> i64 {
        match self {
            Self::S => 1_000_000_000,
            Self::Ms => 1_000_000,
            Self::Us => 1_000,
            Self::Ns => 1,
        }
    }
}

/// Which end of its bar a row's event time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The close, or the row is no bar: it is known at its event time.
    Close,
    /// The open: the row is known one bar later, which becomes its event time.
    Open {
        /// The length of a bar.
        #[serde(serialize_with = "nanoseconds")]
        bar: Duration,
    },
}

/// Which columns of a source hold the entity's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKeys {
    /// Columns named like the keys.
    SameNames,
    /// None: its rows belong to every entity.
    None,
    /// These.
    Columns(BTreeMap<KeyName, String>),
}

/// How values stand in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One row per time, one column per value.
    Wide,
    /// One row per time and series.
    Long {
        /// The column with the name of the series.
        name: String,
        /// The column with its value.
        value: String,
    },
}

/// Which of several rows of one entity and event time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The last in the order of the data.
    Last,
    /// The first.
    First,
    /// None: it is an error.
    Error,
}

/// What a row without an event time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNullTime {
    /// An error.
    Error,
    /// Left out.
    Drop,
}

/// What is possible in a column. A null is always possible, a NaN unless `finite`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Validity {
    /// The smallest possible value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest possible value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Whether `min` and `max` themselves are impossible. Default: false.
    pub exclusive: bool,
    /// Whether infinities and NaN are impossible. Default: false.
    pub finite: bool,
    /// What becomes of an impossible value. Default: an error.
    pub on_violation: OnViolation,
}

/// What becomes of an impossible value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnViolation {
    /// A null.
    Null,
    /// Its row is left out.
    Drop,
    /// An error.
    Error,
}

/// What a null becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The last value of its entity and column, where that is not older than this.
    Last {
        /// How old a value may be.
        #[serde(serialize_with = "nanoseconds")]
        within: Duration,
    },
}
