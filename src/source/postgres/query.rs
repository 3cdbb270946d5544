//! The rows of a range, the entities, the newest row.

use std::fmt::Display;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use tokio_postgres::Row;

use super::database::Database;
use super::select::Where;
use super::value::column;
use crate::definition::{Layout, OnNullTime, SourceDefinition, ValueType};
use crate::error::{Error, Result};
use crate::source::cast::Caster;
use crate::source::column::{Column, Sample};
use crate::source::found::{Found, Kind};
use crate::source::gather::Gathered;
use crate::source::intake::{Intake, Keys, Types, bar};
use crate::sql::quoted;

/// Asks a database for the rows of one source.
pub struct Query<'a> {
    pub source: &'a SourceDefinition,
    /// What the database had when the source was opened.
    pub sample: &'a Sample,
    pub caster: &'a Caster,
    pub database: &'a Database,
}

/// A column that is asked for.
struct Asked {
    /// Its name in the database.
    name: String,
    sql: String,
    /// The type of what this SQL gives.
    found: Found,
}

impl Asked {
    fn column(name: &str, found: &Found) -> Self {
        Self { name: name.to_owned(), sql: quoted(name), found: found.clone() }
    }

    /// A column whose values become `to`. A decimal is rounded once, to the nearest number of that type, and to a whole
    /// one not at all.
    fn value(name: &str, found: &Found, to: ValueType) -> Self {
        let column = quoted(name);
        let (sql, kind) = match (found.kind, to) {
            (Kind::Decimal, ValueType::Integer) => (format!("CAST(trim_scale({column}) AS text)"), Kind::Text),
            (Kind::Decimal, ValueType::Float) => (format!("CAST({column} AS real)"), Kind::Float),
            (Kind::Decimal, _) => (format!("CAST({column} AS double precision)"), Kind::Double),
            (kind, _) => (column, kind),
        };
        Self { name: name.to_owned(), sql, found: Found { kind, sql: found.sql.clone() } }
    }
}

impl Query<'_> {
    /// Adds the rows of `keys` whose event times lie from `from` up to `to`: of a wide table to the only one of
    /// `into`, of a long one to that of each column.
    pub fn rows(&self, keys: &Keys, between: (i64, i64), columns: &[&Column], into: &mut [Gathered]) -> Result<()> {
        let (relation, event_time) = (&self.database.relation, quoted(&self.source.event_time));
        self.database.read(async |session| {
            let now = session.sample().await?;
            let event = self.time(&now, &self.source.event_time)?;
            let created = self.source.created_time.as_ref().map(|column| self.time(&now, column)).transpose()?;
            let values = self.values(&now, columns)?;
            let mut rows = self.of_keys(&now, keys)?;
            if self.source.on_null_time == OnNullTime::Error {
                // Asked apart: together with the range, an index would not do.
                let mut without = rows.clone();
                without.and(format!("{event_time} IS NULL"));
                let mut found = false;
                let take = |rows: &[Row]| {
                    found = !rows.is_empty();
                    Ok(())
                };
                session.ask(&without.select("true", relation, " LIMIT 1"), take).await?;
                if found {
                    return Err(self.intake().null_time(keys));
                }
            }
            self.during(&mut rows, &event, between)?;
            let types = Types {
                times: event.found.clone(),
                created: created.as_ref().map(|asked| asked.found.clone()),
                columns,
                data: self.data(&values, columns),
            };
            let mut asked: Vec<_> = [Some(event), created].into_iter().flatten().collect();
            match &self.source.layout {
                Layout::Wide => asked.extend(values),
                Layout::Long { name, .. } => {
                    rows.any(name, columns.iter().map(|column| column.data.clone()).collect());
                    asked.push(self.name(&now, name)?);
                    asked.extend(values);
                }
            }
            let select = rows.select(&selected(&asked), relation, &format!(" ORDER BY {event_time}"));
            let intake = self.intake();
            session.ask(&select, |rows| intake.add(&self.batch(rows, &asked)?, &types, keys, between, into)).await
        })
    }

    /// The event time of the newest row of `keys`.
    pub fn newest(&self, keys: &Keys) -> Result<Option<i64>> {
        let column = quoted(&self.source.event_time);
        self.database.read(async |session| {
            let now = session.sample().await?;
            let event = self.time(&now, &self.source.event_time)?;
            let mut rows = self.of_keys(&now, keys)?;
            if event.found.kind != Kind::Integer {
                // A row of never is not the newest.
                rows.and(format!("{column} < 'infinity'"));
            }
            let newest = Asked { sql: format!("max({column})"), ..event };
            let mut found = None;
            let intake = self.intake();
            let select = rows.select(&newest.sql, &self.database.relation, "");
            let asked = [newest];
            let take = |rows: &[Row]| {
                let [newest] = &asked;
                found = intake.event_times(&self.batch(rows, &asked)?, &newest.found)?.iter().flatten().max();
                Ok(())
            };
            session.ask(&select, take).await?;
            Ok(found)
        })
    }

    /// The values of the key columns of every entity with rows in the range, as text.
    pub fn entities(&self, keys: &[String], between: (i64, i64)) -> Result<Vec<Vec<String>>> {
        self.database.read(async |session| {
            let now = session.sample().await?;
            let mut rows = Where::default();
            self.during(&mut rows, &self.time(&now, &self.source.event_time)?, between)?;
            let mut asked = Vec::with_capacity(keys.len());
            for key in keys {
                let found = now.required("the key column", key).map_err(|error| self.error(error))?;
                if !matches!(found.kind, Kind::Text | Kind::Integer) {
                    return Err(self.no_key(key, found));
                }
                rows.and(format!("{} IS NOT NULL", quoted(key)));
                let text = Found { kind: Kind::Text, sql: found.sql.clone() };
                asked.push(Asked { sql: format!("CAST({} AS text)", quoted(key)), ..Asked::column(key, &text) });
            }
            let mut entities = Vec::new();
            let select = rows.select(&format!("DISTINCT {}", selected(&asked)), &self.database.relation, "");
            let take = |rows: &[Row]| {
                let batch = self.batch(rows, &asked)?;
                let key = |column: &ArrayRef, row| column.as_string::<i32>().value(row).to_owned();
                let entity = |row| batch.columns().iter().map(|column| key(column, row)).collect();
                entities.extend((0..batch.num_rows()).map(entity));
                Ok(())
            };
            session.ask(&select, take).await?;
            Ok(entities)
        })
    }

    /// A column of times.
    fn time(&self, now: &Sample, column: &str) -> Result<Asked> {
        let found = now.required("the time column", column).map_err(|error| self.error(error))?;
        match self.caster.clock.objection(found) {
            Some(objection) => Err(self.error(format!("column {column} of {} {objection}", now.place))),
            None => Ok(Asked::column(column, found)),
        }
    }

    /// The column with the names of the series.
    fn name(&self, now: &Sample, column: &str) -> Result<Asked> {
        let found = now.required("the name column", column).map_err(|error| self.error(error))?;
        match found.kind {
            Kind::Text => Ok(Asked::column(column, found)),
            _ => Err(self.error(format!(
                "column {column} of {} is {found}, but the names of series are text: cast it in a query",
                now.place
            ))),
        }
    }

    /// What is asked for these columns: each of a wide table, the one value of a long one.
    fn values(&self, now: &Sample, columns: &[&Column]) -> Result<Vec<Asked>> {
        let mut asked: Vec<Asked> = Vec::with_capacity(columns.len());
        for column in columns {
            let data = match &self.source.layout {
                Layout::Wide => &column.data,
                Layout::Long { value, .. } => value,
            };
            let found = now.required("column", data).map_err(|error| self.error(error))?;
            if !column.takes(found, false) {
                let before = self.sample.found(data).map_or("missing", |found| &found.sql);
                return Err(self.error(format!(
                    "column {data} of {} is {found}, but was {before} when the source was opened: start anew, or say its \
                     type with types = {{ {} = \"{}\" }}",
                    now.place, column.name, column.value_type
                )));
            }
            let value = Asked::value(data, found, column.value_type);
            match (&self.source.layout, asked.last()) {
                (Layout::Long { .. }, Some(first)) if first.found == value.found => {}
                (Layout::Long { .. }, Some(_)) => {
                    return Err(self.error(format!(
                        "column {data} of {} is {found}: give all series one type in types, or cast it in a query",
                        now.place
                    )));
                }
                _ => asked.push(value),
            }
        }
        Ok(asked)
    }

    /// The type of each column, as it is asked for.
    fn data(&self, values: &[Asked], columns: &[&Column]) -> Vec<Found> {
        let each = values.iter().map(|asked| asked.found.clone());
        match &self.source.layout {
            Layout::Wide => each.collect(),
            Layout::Long { .. } => each.cycle().take(columns.len()).collect(),
        }
    }

    fn of_keys(&self, now: &Sample, keys: &Keys) -> Result<Where> {
        let mut rows = Where::default();
        for (column, value) in keys {
            let found = now.required("the key column", column).map_err(|error| self.error(error))?;
            rows.key(column, found, value).ok_or_else(|| self.no_key(column, found))?;
        }
        Ok(rows)
    }

    fn during(&self, rows: &mut Where, event: &Asked, (from, to): (i64, i64)) -> Result<()> {
        let bar = bar(self.source);
        let between = (from.saturating_sub(bar), to.saturating_sub(bar));
        rows.during(&self.caster.clock, &event.name, &event.found, between).ok_or_else(|| {
            self.error(format!(
                "column {} of {} is {}, of which a range would have to be looked for in all rows: cast it to timestamptz \
                 in a query",
                event.name, self.database.place, event.found
            ))
        })
    }

    fn batch(&self, rows: &[Row], asked: &[Asked]) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(asked.len());
        for (at, asked) in asked.iter().enumerate() {
            let values = column(rows, at, asked.found.kind).map_err(|what| {
                let (name, place) = (&asked.name, &self.database.place);
                self.error(format!("column {name} of {place} has {what}: correct it, or leave it out in a query"))
            })?;
            columns.push((asked.name.as_str(), values, true));
        }
        RecordBatch::try_from_iter_with_nullable(columns)
            .map_err(|error| Error::internal(format!("rows of a database cannot be put together: {error}")))
    }

    fn no_key(&self, column: &str, found: &Found) -> Error {
        let place = &self.database.place;
        self.error(format!(
            "key column {column} of {place} is {found}: keys are text or whole numbers: cast it in a query"
        ))
    }

    fn intake(&self) -> Intake<'_> {
        Intake { source: self.source, caster: self.caster, place: self.database.place.clone() }
    }

    fn error(&self, what: impl Display) -> Error {
        Error::invalid(format!("source {}: {what}", self.source.name))
    }
}

fn selected(asked: &[Asked]) -> String {
    let sql: Vec<_> = asked.iter().map(|asked| asked.sql.as_str()).collect();
    sql.join(", ")
}
