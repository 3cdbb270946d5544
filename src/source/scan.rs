//! The rows of one file.

use std::fmt::Display;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};

use super::cast::Caster;
use super::column::{Column, Sample};
use super::engine::Lease;
use super::file::Opened;
use super::found::{Found, Kind};
use super::gather::Gathered;
use super::intake::{Intake, Keys, Types, bar};
use super::literal::text;
use super::sheet::Sheet;
use crate::definition::{Layout, OnNullTime, SourceDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{KeyValue, SourceName};

/// How the files of one source are read.
pub(super) struct Scan<'a> {
    pub(super) source: &'a SourceDefinition,
    pub(super) sample: &'a Sample,
    pub(super) caster: &'a Caster,
    pub(super) lease: &'a Lease,
}

impl Scan<'_> {
    /// Adds the rows of `keys` whose event times lie from `from` up to `to`: of a wide table to the only one of
    /// `into`, of a long one to that of each column.
    pub(super) fn rows(
        &self,
        sheet: &Sheet,
        keys: &Keys,
        (from, to): (i64, i64),
        columns: &[&Column],
        into: &mut [Gathered],
    ) -> Result<()> {
        let created = self.source.created_time.as_ref();
        let types = Types {
            times: self.time_column(sheet, &self.source.event_time)?,
            created: created.map(|column| self.time_column(sheet, column)).transpose()?,
            columns,
            data: self.data(sheet, columns)?,
        };
        let mut selected = vec![sheet.expression(&self.source.event_time)];
        selected.extend(created.iter().map(|column| sheet.expression(column)));
        let mut conditions = self.key_conditions(sheet, keys)?;
        conditions.push(self.during(sheet, &types.times, from, to));
        match &self.source.layout {
            Layout::Wide => selected.extend(columns.iter().map(|column| sheet.expression(&column.data))),
            Layout::Long { name, value } => {
                selected.extend([name, value].map(|column| sheet.expression(column)));
                let names: Vec<_> = columns.iter().map(|column| text(&column.data)).collect();
                let name = sheet.expression(name);
                conditions.push(if names.is_empty() {
                    "false".to_owned()
                } else {
                    format!("{name} IN ({})", names.join(", "))
                });
            }
        }
        let sql = format!("SELECT {} FROM {} WHERE {}", selected.join(", "), sheet.sql, conditions.join(" AND "));
        let intake = self.intake(sheet);
        self.query(sheet, &sql, |batch| intake.add(&batch, &types, keys, (from, to), into))
    }

    /// The newest event time of `keys` in the file.
    pub(super) fn newest(&self, sheet: &Sheet, keys: &Keys) -> Result<Option<i64>> {
        let times = self.time_column(sheet, &self.source.event_time)?;
        let column = sheet.expression(&self.source.event_time);
        // Later values stand for later instants, but for text, which only reading tells.
        let asked = if times.kind == Kind::Text { format!("DISTINCT {column}") } else { format!("max({column})") };
        let mut conditions = self.key_conditions(sheet, keys)?;
        conditions.push(format!("{column} IS NOT NULL"));
        let (mut newest, intake) = (None, self.intake(sheet));
        self.query(sheet, &format!("SELECT {asked} FROM {} WHERE {}", sheet.sql, conditions.join(" AND ")), |batch| {
            newest = newest.max(intake.event_times(&batch, &times)?.iter().flatten().max());
            Ok(())
        })?;
        Ok(newest)
    }

    /// Gives the values of the key columns of every entity with rows in the range to `take`, as text.
    pub(super) fn entities(
        &self,
        sheet: &Sheet,
        keys: &[String],
        (from, to): (i64, i64),
        mut take: impl FnMut(Vec<String>) -> Result<()>,
    ) -> Result<()> {
        let times = self.time_column(sheet, &self.source.event_time)?;
        let mut selected = Vec::new();
        for key in keys {
            self.key_column(sheet, key)?;
            selected.push(format!("CAST({} AS VARCHAR)", sheet.expression(key)));
        }
        let bounded = times.kind != Kind::Text;
        let mut conditions = vec![self.range(sheet, &times, from, to)];
        conditions.extend(selected.iter().map(|key| format!("{key} IS NOT NULL")));
        let constant = bounded && keys.iter().all(|key| sheet.is_partition(key));
        selected.insert(
            0,
            if bounded { "CAST(NULL AS VARCHAR)".to_owned() } else { sheet.expression(&self.source.event_time) },
        );
        let limit = if constant { " LIMIT 1" } else { "" };
        let (asked, conditions) = (selected.join(", "), conditions.join(" AND "));
        let sql = format!("SELECT DISTINCT {asked} FROM {} WHERE {conditions}{limit}", sheet.sql);
        let intake = self.intake(sheet);
        self.query(sheet, &sql, |batch| {
            let event = if bounded { None } else { Some(intake.event_times(&batch, &times)?) };
            for row in 0..batch.num_rows() {
                let inside = |event: &Int64Array| event.is_valid(row) && (from..to).contains(&event.value(row));
                if event.as_ref().is_none_or(inside) {
                    let keys = batch.columns().iter().skip(1);
                    take(keys.map(|key| key.as_string::<i32>().value(row).to_owned()).collect())?;
                }
            }
            Ok(())
        })
    }

    /// The columns' types in this file, which are those of the sample or narrower.
    fn data(&self, sheet: &Sheet, columns: &[&Column]) -> Result<Vec<Found>> {
        let found = |column: &&Column| {
            let data = match &self.source.layout {
                Layout::Wide => &column.data,
                Layout::Long { value, .. } => value,
            };
            let found = self.required(sheet, "column", data)?;
            if column.takes(&found, sheet.is_untyped(data)) {
                return Ok(found);
            }
            let before = self.sample.required("column", data)?;
            Err(self.error(format!(
                "column {data} is {found} in {}, but {before} in {}: write one of the files again, or say its type with \
                 types = {{ {} = \"{}\" }}",
                sheet.path().display(),
                self.sample.place,
                column.name,
                column.value_type,
            )))
        };
        columns.iter().map(found).collect()
    }

    fn required(&self, sheet: &Sheet, what: &str, column: &str) -> Result<Found> {
        sheet.found(column).ok_or_else(|| {
            let names: Vec<_> = sheet.all().into_iter().map(|(name, _)| name).collect();
            let (path, names) = (sheet.path().display(), names.join(", "));
            self.error(format!("{what} {column} is not in {path}, whose columns are {names}: write the file again"))
        })
    }

    fn time_column(&self, sheet: &Sheet, column: &str) -> Result<Found> {
        let found = self.required(sheet, "the time column", column)?;
        match self.caster.clock.objection(&found) {
            Some(objection) => Err(self.error(format!("column {column} of {} {objection}", sheet.path().display()))),
            None => Ok(found),
        }
    }

    fn key_column(&self, sheet: &Sheet, column: &str) -> Result<Found> {
        let found = self.required(sheet, "the key column", column)?;
        match found.kind {
            Kind::Text | Kind::Integer => Ok(found),
            _ => Err(self.error(format!(
                "key column {column} of {} is {found}: keys are text or whole numbers",
                sheet.path().display()
            ))),
        }
    }

    fn key_conditions(&self, sheet: &Sheet, keys: &Keys) -> Result<Vec<String>> {
        let condition = |(column, value): &(String, KeyValue)| {
            let expression = sheet.expression(column);
            let value = value.to_string();
            Ok(match self.key_column(sheet, column)?.kind {
                // A number has one spelling: text that only reads like it is another key.
                Kind::Integer => match value.parse::<i64>() {
                    Ok(number) if number.to_string() == value => format!("{expression} = {number}"),
                    _ => "false".to_owned(),
                },
                _ => format!("{expression} = {}", text(&value)),
            })
        };
        keys.iter().map(condition).collect()
    }

    /// The rows of a range, and those without a time where they are an error.
    fn during(&self, sheet: &Sheet, times: &Found, from: i64, to: i64) -> String {
        let range = self.range(sheet, times, from, to);
        match self.source.on_null_time {
            OnNullTime::Error => format!("({range} OR {} IS NULL)", sheet.expression(&self.source.event_time)),
            OnNullTime::Drop => range,
        }
    }

    fn range(&self, sheet: &Sheet, times: &Found, from: i64, to: i64) -> String {
        let column = sheet.expression(&self.source.event_time);
        let bar = bar(self.source);
        let between = self.caster.clock.between(&column, times, from.saturating_sub(bar), to.saturating_sub(bar));
        between.map_or("true".to_owned(), |between| format!("({between})"))
    }

    fn intake(&self, sheet: &Sheet) -> Intake<'_> {
        Intake { source: self.source, caster: self.caster, place: sheet.path().display().to_string() }
    }

    fn query(&self, sheet: &Sheet, sql: &str, take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.lease.query(sql, take).map_err(|error| damaged(&self.source.name, &sheet.opened, &error))?
    }

    fn error(&self, what: impl Display) -> Error {
        Error::invalid(format!("source {}: {what}", self.source.name))
    }
}

/// What it means that the engine cannot read a file.
pub(super) fn damaged(source: &SourceName, opened: &Opened, error: &duckdb::Error) -> Error {
    let path = opened.was.path.display().to_string();
    let cause = error.to_string().replace(&opened.name(), &path);
    if cause.starts_with("Out of Memory") {
        let message = format!("source {source}: reading {path} needs more memory than it may use: ask for less");
        return Error::with_source(ErrorKind::Unavailable, message, cause);
    }
    let message = format!("source {source}: {path} cannot be read, damaged or not what it is called: replace it");
    Error::with_source(ErrorKind::Corrupt, message, cause)
}
