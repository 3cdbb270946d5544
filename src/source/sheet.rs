//! One file as a table.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;

use super::engine::Lease;
use super::file::Opened;
use super::found::Found;
use super::literal::text;
use super::partition;
use crate::definition::CsvFormat;
use crate::sql::quoted;

/// How the files of a source are written.
#[derive(Debug, Clone)]
pub(super) enum Format {
    Parquet,
    Csv(CsvFormat),
}

/// The columns of a file in their order.
pub(super) type Columns = Vec<(String, Found)>;

/// An open file with its columns. Those that its directories are stand behind its own.
pub(super) struct Sheet {
    pub(super) opened: Opened,
    columns: Arc<Columns>,
    partitions: Vec<(String, Option<String>)>,
    untyped: bool,
    /// It as SQL wants it behind `FROM`.
    pub(super) sql: String,
}

impl Sheet {
    pub(super) fn new(opened: Opened, format: &Format, columns: Arc<Columns>) -> Self {
        let sql = match format {
            Format::Parquet => parquet(&opened),
            Format::Csv(csv) => {
                let types = columns.iter().map(|(name, _)| format!("{}: 'VARCHAR'", text(name))).collect::<Vec<_>>();
                let options = format!("auto_detect = false, columns = {{{}}}", types.join(", "));
                read_csv(&opened, csv, &options)
            }
        };
        let partitions = partition::columns(&opened.was.path);
        Self { opened, columns, partitions, untyped: matches!(format, Format::Csv(_)), sql }
    }

    pub(super) fn path(&self) -> &Path {
        &self.opened.was.path
    }

    /// The type of a column, where there is one of this name.
    pub(super) fn found(&self, column: &str) -> Option<Found> {
        let own = self.columns.iter().find(|(name, _)| name == column).map(|(_, found)| found.clone());
        own.or_else(|| self.partition(column).map(|_| Found::text()))
    }

    /// Whether a column is text only because nothing there has types: in a CSV file, or as the name of a directory.
    pub(super) fn is_untyped(&self, column: &str) -> bool {
        self.untyped || self.is_partition(column)
    }

    /// Whether a column is the name of a directory.
    pub(super) fn is_partition(&self, column: &str) -> bool {
        !self.columns.iter().any(|(name, _)| name == column) && self.partition(column).is_some()
    }

    /// The column as SQL: a name, or what the directory says.
    pub(super) fn expression(&self, column: &str) -> String {
        match self.partition(column) {
            Some(Some(value)) if self.is_partition(column) => text(value),
            Some(None) if self.is_partition(column) => "CAST(NULL AS VARCHAR)".to_owned(),
            _ => quoted(column),
        }
    }

    /// The names of all columns with their types.
    pub(super) fn all(&self) -> Columns {
        let partitions = self.partitions.iter().filter(|(name, _)| self.is_partition(name));
        self.columns.iter().cloned().chain(partitions.map(|(name, _)| (name.clone(), Found::text()))).collect()
    }

    fn partition(&self, column: &str) -> Option<&Option<String>> {
        self.partitions.iter().find(|(name, _)| name == column).map(|(_, value)| value)
    }
}

/// The columns that a file has, as DuckDB says. Those of a CSV file are text.
pub(super) fn describe(lease: &Lease, opened: &Opened, format: &Format) -> duckdb::Result<Columns> {
    match format {
        Format::Parquet => columns(lease, &parquet(opened)),
        Format::Csv(csv) => {
            let named = columns(lease, &read_csv(opened, csv, "all_varchar = true"))?;
            Ok(named.into_iter().enumerate().map(|(at, (name, found))| (csv_name(csv, at, name), found)).collect())
        }
    }
}

/// The types that all values of a CSV file have: a number where each is one, and else text.
pub(super) fn guess(lease: &Lease, opened: &Opened, csv: &CsvFormat) -> duckdb::Result<Columns> {
    let options = "sample_size = -1, auto_type_candidates = ['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']";
    let named = columns(lease, &read_csv(opened, csv, options))?;
    Ok(named.into_iter().enumerate().map(|(at, (name, found))| (csv_name(csv, at, name), found)).collect())
}

fn csv_name(csv: &CsvFormat, at: usize, name: String) -> String {
    if csv.header { name } else { format!("column_{}", at + 1) }
}

fn columns(lease: &Lease, table: &str) -> duckdb::Result<Columns> {
    let mut columns = Columns::new();
    let Ok(()) = lease.query(&format!("DESCRIBE SELECT * FROM {table}"), |batch| {
        let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        if let (Some(names), Some(types)) = (texts("column_name"), texts("column_type")) {
            let pairs = names.iter().zip(types).filter_map(|(name, sql)| name.zip(sql));
            columns.extend(pairs.map(|(name, sql)| (name.to_owned(), Found::new(sql))));
        }
        Ok::<_, Infallible>(())
    })?;
    Ok(columns)
}

fn parquet(opened: &Opened) -> String {
    format!("read_parquet({}, hive_partitioning = false)", text(&opened.name()))
}

fn read_csv(opened: &Opened, csv: &CsvFormat, options: &str) -> String {
    let compression = match opened.was.path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => "gzip",
        Some("zst") => "zstd",
        _ => "none",
    };
    format!(
        "read_csv({file}, header = {header}, delim = {delimiter}, quote = '\"', escape = '\"', comment = '', skip = 0, \
         nullstr = {null}, allow_quoted_nulls = false, decimal_separator = {decimal}, strict_mode = true, \
         compression = '{compression}', hive_partitioning = false, {options})",
        file = text(&opened.name()),
        header = csv.header,
        delimiter = text(&csv.delimiter.to_string()),
        null = text(&csv.null),
        decimal = text(&csv.decimal.to_string()),
    )
}
