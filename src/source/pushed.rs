//! Rows that programs push, kept below the cache directory: a sealed file per source, entity and day.
//!
//! Every row that was ever pushed stays, with the time at which it became known; which of them counts is decided when
//! they are read, as for any source.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray, new_null_array};
use arrow::compute::{SortColumn, cast, take};
use arrow::compute::{concat, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType};
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;

use super::cast::Caster;
use super::column::Column;
use super::found::Found;
use super::gather::Gathered;
use super::moment::Clockface;
use super::policy::is_possible;
use super::rows::Rows;
use super::versions::Versions;
use crate::block::{self, BlockError};
use crate::definition::{EntityDefinition, OnDuplicate, OnViolation, SourceDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EVENT_TIME, EntityKey, KeyType, KeyValue, Span, TimeRange, Timestamp};
use crate::planted::{self, Bug};
use crate::store::{CacheDir, PushedFile};

/// The column of the time at which a row became known, in the files.
const CREATED_TIME: &str = "created_timestamp";
const SOURCE: &str = "larder.source";
const ENTITY: &str = "larder.entity";

/// A source of pushed rows.
#[derive(Debug)]
pub struct Pushed {
    definition: SourceDefinition,
    columns: Vec<Column>,
    caster: Caster,
}

/// Rows to be kept, checked against the definition.
#[derive(Debug, Clone)]
pub struct NewRows {
    times: Int64Array,
    created: Int64Array,
    values: Vec<ArrayRef>,
}

impl NewRows {
    /// When each row became true.
    pub fn times(&self) -> &[i64] {
        self.times.values()
    }

    fn taken(&self, rows: &[u32]) -> Result<Self> {
        let rows = arrow::array::UInt32Array::from(rows.to_vec());
        let of = |values: &dyn Array| take(values, &rows, None).map_err(broken);
        Ok(Self {
            times: of(&self.times)?.as_primitive().clone(),
            created: of(&self.created)?.as_primitive().clone(),
            values: self.values.iter().map(|values| of(values)).collect::<Result<_>>()?,
        })
    }
}

impl Pushed {
    /// The source that is defined.
    pub fn new(definition: &SourceDefinition) -> Self {
        let columns = definition.types.iter().map(|(name, value_type)| Column {
            name: name.clone(),
            data: name.clone(),
            value_type: *value_type,
            declared: true,
        });
        let clock = Clockface::new(&definition.time_zone, definition.time_unit);
        let caster = Caster { clock, decimal: '.' };
        Self { definition: definition.clone(), columns: columns.collect(), caster }
    }

    /// What it holds.
    pub fn definition(&self) -> &SourceDefinition {
        &self.definition
    }

    /// The columns of its rows, without times and keys.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The rows of `batch`, if all of them can be kept: the columns of the definition, the event time and, where one is
    /// defined, the created time; otherwise they become known `now`.
    ///
    /// # Errors
    /// `Invalid` for a column that is missing, unknown or of another type, for a time that is null or to come, and for
    /// an impossible value that is an error.
    pub fn accept(&self, batch: &RecordBatch, now: Timestamp) -> Result<NewRows> {
        let schema = batch.schema();
        let times = self.times(batch, &self.definition.event_time)?;
        let created = match &self.definition.created_time {
            Some(column) => self.times(batch, column)?,
            None => Int64Array::from_value(now.as_ns(), batch.num_rows()),
        };
        let latest = now.saturating_add(self.definition.lateness);
        if let Some(late) = times.values().iter().chain(created.values()).find(|at| **at > latest.as_ns()) {
            return Err(self.error(format!(
                "a row is of {}, and it is {now}: check the unit of its time, or raise lateness where clocks differ",
                Timestamp::from_ns(*late)
            )));
        }
        let mut known: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        known.push(&self.definition.event_time);
        known.extend(self.definition.created_time.as_deref());
        if let Some(field) = schema.fields().iter().find(|field| !known.contains(&field.name().as_str())) {
            return Err(self.error(format!("column {} is not defined: there are {}", field.name(), known.join(", "))));
        }
        let values = self.columns.iter().map(|column| self.values(batch, column, &times)).collect::<Result<_>>()?;
        Ok(NewRows { times, created, values })
    }

    fn times(&self, batch: &RecordBatch, name: &str) -> Result<Int64Array> {
        let values = batch.column_by_name(name).ok_or_else(|| self.missing(batch, name))?;
        let found = Found::of_arrow(values.data_type());
        if !matches!(values.data_type(), DataType::Timestamp(..) | DataType::Date32) {
            return Err(self.error(format!("column {name} is {found}, which is no time: push timestamps")));
        }
        let times = self.caster.clock.instants(values, &found);
        let times = times.map_err(|bad| self.error(format!("{name} in row {}: {}", bad.row, bad.what)))?;
        match (0..times.len()).find(|row| times.is_null(*row)) {
            Some(row) => Err(self.error(format!("{name} is null in row {row}: leave such rows out"))),
            None => Ok(times),
        }
    }

    fn values(&self, batch: &RecordBatch, column: &Column, times: &Int64Array) -> Result<ArrayRef> {
        let name = &column.name;
        let values = batch.column_by_name(name).ok_or_else(|| self.missing(batch, name))?;
        let at = |row: usize| Timestamp::from_ns(times.values().get(row).copied().unwrap_or_default());
        let found = Found::of_arrow(values.data_type());
        let cast = self.caster.cast(values, &found, column.value_type);
        let cast = cast.map_err(|bad| self.error(format!("{name} at {}: {}", at(bad.row), bad.what)))?;
        if let Some(rules) = self.definition.valid.get(name)
            && rules.on_violation == OnViolation::Error
        {
            let numbers = arrow::compute::cast(&cast, &DataType::Float64).map_err(broken)?;
            let numbers = numbers.as_primitive::<arrow::datatypes::Float64Type>();
            let impossible = |row: &usize| numbers.is_valid(*row) && !is_possible(numbers.value(*row), rules);
            if let Some(row) = (0..numbers.len()).find(impossible) {
                let value = numbers.value(row);
                return Err(self.error(format!("{name} is {value} at {}, which is impossible", at(row))));
            }
        }
        Ok(cast)
    }

    fn missing(&self, batch: &RecordBatch, name: &str) -> Error {
        let schema = batch.schema();
        let given: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        self.error(format!(
            "column {name} is missing: there are {}; push nulls where it has no value",
            given.join(", ")
        ))
    }

    /// Keeps rows of an entity, or of all; when it returns they are on the disk. A row that says what is known already
    /// is left out. `changed` takes the event times whose row may be another now, even where an error is returned.
    ///
    /// # Errors
    /// `Invalid` for a second row of a time where the definition allows one; `Corrupt` for a damaged file;
    /// `Unavailable` where one cannot be written. Rows of other days may have been kept.
    pub fn keep(
        &self,
        dir: &CacheDir,
        entity: Option<&EntityKey>,
        rows: &NewRows,
        compression_level: i32,
        changed: &mut BTreeSet<i64>,
    ) -> Result<()> {
        let mut days: BTreeMap<Timestamp, Vec<u32>> = BTreeMap::new();
        for (row, at) in (0..).zip(rows.times()) {
            days.entry(Span::Day.block_of(Timestamp::from_ns(*at)).start()).or_default().push(row);
        }
        for (day, of_day) in days {
            let new = rows.taken(&of_day)?;
            dir.amend_pushed(&self.definition.name, entity, day, |path, before| {
                let before = before.map(|bytes| self.decode(path, bytes, entity)).transpose()?;
                let Some(batch) = self.merged(before.as_ref(), &new, changed)? else { return Ok(None) };
                let description = self.description(entity);
                let bytes = block::encode(&batch, &description, compression_level).map_err(|error| {
                    Error::with_source(
                        ErrorKind::Invalid,
                        format!("rows pushed to {} cannot be kept", self.definition.name),
                        error,
                    )
                })?;
                Ok(Some(bytes))
            })?;
        }
        Ok(())
    }

    /// The rows of before and the new ones; `None` where all of those are known.
    fn merged(
        &self,
        before: Option<&RecordBatch>,
        new: &NewRows,
        changed: &mut BTreeSet<i64>,
    ) -> Result<Option<RecordBatch>> {
        let old = before.map(|batch| self.columns_of(batch)).transpose()?;
        let fields = self.columns.iter().map(|column| SortField::new(column.value_type.data_type())).collect();
        let converter = RowConverter::new(fields).map_err(broken)?;
        let new_values = converter.convert_columns(&new.values).map_err(broken)?;
        let old_values = old.as_ref().map(|old| converter.convert_columns(&old.values).map_err(broken)).transpose()?;
        // What is known of each time, or, where rows say when they became known, of both times together.
        let by_created = self.definition.created_time.is_some();
        let key = |at: i64, created: i64| (at, if by_created { created } else { 0 });
        let mut present: HashMap<(i64, i64), arrow::row::Row<'_>> = HashMap::new();
        let mut newest: HashMap<i64, i64> = HashMap::new();
        for (old, values) in old.iter().zip(&old_values) {
            for (row, (at, created)) in old.times().iter().zip(old.created.values()).enumerate() {
                self.counts(&mut present, key(*at, *created), values.row(row));
                newest.entry(*at).and_modify(|newest| *newest = (*newest).max(*created)).or_insert(*created);
            }
        }
        let (mut kept, mut known) = (Vec::new(), Vec::new());
        let keys = || new.times().iter().zip(new.created.values()).map(|(at, created)| key(*at, *created));
        // Of rows that say they are the same version the one that counts: the others would come again with every push.
        let counting: HashMap<_, u32> = match self.definition.on_duplicate {
            OnDuplicate::First => keys().zip(0..).collect::<Vec<_>>().into_iter().rev().collect(),
            OnDuplicate::Last | OnDuplicate::Error => keys().zip(0..).collect(),
        };
        for (row, (at, created)) in (0..).zip(new.times().iter().zip(new.created.values())) {
            let (values, key) = (new_values.row(row as usize), key(*at, *created));
            let counts = counting.get(&key) == Some(&row) || self.definition.on_duplicate == OnDuplicate::Error;
            let is_first = self.definition.on_duplicate == OnDuplicate::First || planted::is(Bug::FirstPushOnly);
            let is_beaten = is_first && present.contains_key(&key);
            if !counts || is_beaten || present.get(&key) == Some(&values) {
                continue;
            }
            if present.contains_key(&key) && self.definition.on_duplicate == OnDuplicate::Error {
                return Err(self.error(format!(
                    "there is another row of {} already: say which counts with on_duplicate",
                    Timestamp::from_ns(*at)
                )));
            }
            self.counts(&mut present, key, values);
            changed.insert(*at);
            kept.push(row);
            // A clock that was set back does not put a correction before what it corrects.
            let latest = newest.entry(*at).or_insert(*created);
            *latest = (*latest).max(*created);
            known.push(if by_created { *created } else { *latest });
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let kept = NewRows { created: known.into(), ..new.taken(&kept)? };
        self.joined(before, old.as_ref(), &kept).map(Some)
    }

    fn counts<'a>(
        &self,
        present: &mut HashMap<(i64, i64), arrow::row::Row<'a>>,
        key: (i64, i64),
        values: arrow::row::Row<'a>,
    ) {
        match self.definition.on_duplicate {
            OnDuplicate::First => drop(present.entry(key).or_insert(values)),
            OnDuplicate::Last | OnDuplicate::Error => drop(present.insert(key, values)),
        }
    }

    /// All rows in the order of their times, with the columns that are defined and those that were.
    fn joined(&self, before: Option<&RecordBatch>, old: Option<&NewRows>, new: &NewRows) -> Result<RecordBatch> {
        let time = |times: &[&Int64Array]| {
            let times = times.iter().flat_map(|times| times.values().iter().copied());
            Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC")) as ArrayRef
        };
        let both = |of: fn(&NewRows) -> &Int64Array| time(&old.into_iter().chain([new]).map(of).collect::<Vec<_>>());
        let mut columns = vec![both(|rows| &rows.times), both(|rows| &rows.created)];
        let mut fields: Vec<_> = [EVENT_TIME, CREATED_TIME]
            .iter()
            .zip(&columns)
            .map(|(name, values)| Field::new(*name, values.data_type().clone(), false))
            .collect();
        for (at, column) in self.columns.iter().enumerate() {
            let parts: Vec<&dyn Array> =
                old.into_iter().chain([new]).filter_map(|rows| rows.values.get(at).map(AsRef::as_ref)).collect();
            columns.push(concat(&parts).map_err(broken)?);
            fields.push(field(column));
        }
        // A column that is not defined any more: what was pushed stays.
        let former = before.iter().flat_map(|batch| {
            batch.schema().fields().iter().cloned().zip(batch.columns().to_vec()).collect::<Vec<_>>()
        });
        for (field, values) in former {
            if !fields.iter().any(|known| known.name() == field.name()) {
                let none = new_null_array(field.data_type(), new.times.len());
                columns.push(concat(&[&values, &none]).map_err(broken)?);
                fields.push(field.as_ref().clone().with_nullable(true));
            }
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(broken)?;
        // By the row's number last, so that rows of one time stay in the order in which they were pushed.
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(batch.num_rows())));
        let keys = batch.columns().iter().take(2).cloned().chain([numbers]);
        let keys: Vec<_> = keys.map(|values| SortColumn { values, options: None }).collect();
        let order = lexsort_to_indices(&keys, None).map_err(broken)?;
        take_record_batch(&batch, &order).map_err(broken)
    }

    /// The rows of `entity` with `range.start <= event time < range.end`, with these columns.
    ///
    /// # Errors
    /// `Invalid` where a column is unknown or was pushed with another type, or the rows are not what the definition
    /// allows; `Corrupt` where a file is damaged; `Unavailable` where one cannot be read.
    pub fn read(&self, dir: &CacheDir, entity: &EntityKey, range: TimeRange, columns: &[&str]) -> Result<Rows> {
        self.versions(dir, entity, range, columns)?.rows(range)
    }

    /// Every version of the rows that [`read`](Self::read) chooses from.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), but for rows that are not allowed: which of them count is not decided yet.
    pub fn versions(
        &self,
        dir: &CacheDir,
        entity: &EntityKey,
        range: TimeRange,
        columns: &[&str],
    ) -> Result<Versions<'_>> {
        let owner = self.owner(entity);
        let wanted = columns.iter().map(|name| self.position(name)).collect::<Result<Vec<_>>>()?;
        // Whether a row is left out must not depend on what else is asked for.
        let mut all: Vec<usize> = wanted.clone();
        all.extend((0..self.columns.len()).filter(|at| self.drops(*at) && !wanted.contains(at)));
        let mut gathered = Gathered::new(all.len());
        for file in dir.pushed_files(&self.definition.name, owner)? {
            // The day of an entity whose keys begin like this one's is another entity's.
            if !self.is_of(&file, owner) || !Span::Day.block_of(file.day).overlaps(&range) {
                continue;
            }
            let Some(bytes) = dir.read_path(&file.path)? else { continue };
            let rows = self.columns_of(&self.decode(&file.path, bytes, owner)?)?;
            let from = rows.times().partition_point(|at| *at < range.start().as_ns());
            let to = rows.times().partition_point(|at| *at < range.end().as_ns());
            let length = to.saturating_sub(from);
            let created = rows.created.slice(from, length);
            // Without a created time of its own, the order in which rows were pushed decides.
            let created = created.iter().filter(|_| self.definition.created_time.is_some());
            let times = rows.times.slice(from, length);
            let values = all.iter().filter_map(|at| rows.values.get(*at)).map(|values| values.slice(from, length));
            gathered.add(&file.path.display().to_string(), times.values().iter().copied(), created, values);
        }
        let columns: Vec<&Column> = all.iter().filter_map(|at| self.columns.get(*at)).collect();
        let keys = entity.pairs().map(|(name, value)| (name.to_string(), value.clone())).collect();
        Ok(Versions { source: &self.definition, keys, columns, asked: wanted.len(), gathered: vec![gathered] })
    }

    /// The event time of an entity's newest row.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn newest(&self, dir: &CacheDir, entity: &EntityKey) -> Result<Option<Timestamp>> {
        let owner = self.owner(entity);
        let files = dir.pushed_files(&self.definition.name, owner)?;
        let Some(file) = files.iter().rfind(|file| self.is_of(file, owner)) else { return Ok(None) };
        let Some(bytes) = dir.read_path(&file.path)? else { return Ok(None) };
        let rows = self.columns_of(&self.decode(&file.path, bytes, owner)?)?;
        Ok(rows.times().last().copied().map(Timestamp::from_ns))
    }

    /// The entities that have rows on the days of a range.
    ///
    /// # Errors
    /// `Invalid` where a key is no value of its type; `Unavailable` where a directory cannot be read.
    pub fn entities(&self, dir: &CacheDir, entity: &EntityDefinition, range: TimeRange) -> Result<BTreeSet<EntityKey>> {
        let mut entities = BTreeSet::new();
        for file in dir.pushed_files(&self.definition.name, None)? {
            if !file.keys.is_empty() && Span::Day.block_of(file.day).overlaps(&range) {
                entities.insert(self.entity(entity, &file)?);
            }
        }
        Ok(entities)
    }

    fn entity(&self, entity: &EntityDefinition, file: &PushedFile) -> Result<EntityKey> {
        let pairs = file.keys.iter().map(|(name, text)| {
            let key_type = entity.keys.iter().find(|(key, _)| key.as_str() == name).map(|(_, key_type)| *key_type);
            let value = match key_type {
                Some(KeyType::Integer) => text.parse::<i64>().map(KeyValue::from).map_err(|_| {
                    self.error(format!("key {name} of {} is no integer, as it is defined now", file.path.display()))
                })?,
                _ => KeyValue::from(text.clone()),
            };
            Ok((name.as_str(), value))
        });
        EntityKey::new(pairs.collect::<Result<Vec<_>>>()?)
    }

    /// Whose rows an entity's are: its own, or those of all.
    fn owner<'a>(&self, entity: &'a EntityKey) -> Option<&'a EntityKey> {
        (self.definition.keys != crate::definition::SourceKeys::None).then_some(entity)
    }

    fn is_of(&self, file: &PushedFile, owner: Option<&EntityKey>) -> bool {
        file.keys.len() == owner.map_or(0, |entity| entity.pairs().len())
    }

    /// The rows of a file in the columns that are defined.
    fn columns_of(&self, batch: &RecordBatch) -> Result<NewRows> {
        let time = |name: &str| {
            let values = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("{name} is missing")))?;
            let times = cast(values, &DataType::Int64).map_err(broken)?;
            Ok::<_, Error>(times.as_primitive::<arrow::datatypes::Int64Type>().clone())
        };
        let values = self.columns.iter().map(|column| {
            let Some(values) = batch.column_by_name(&column.name) else {
                return Ok(new_null_array(&column.value_type.data_type(), batch.num_rows()));
            };
            let found = Found::of_arrow(values.data_type());
            self.caster.cast(values, &found, column.value_type).map_err(|bad| {
                self.error(format!(
                    "{} was pushed as {found} and is defined as {}: {}; give the new column another name",
                    column.name, column.value_type, bad.what
                ))
            })
        });
        Ok(NewRows { times: time(EVENT_TIME)?, created: time(CREATED_TIME)?, values: values.collect::<Result<_>>()? })
    }

    fn decode(&self, path: &Path, bytes: Bytes, entity: Option<&EntityKey>) -> Result<RecordBatch> {
        let damaged = |error: BlockError| {
            let what = format!(
                "source {}: {} is damaged: restore it from a backup, or remove it and push its rows again",
                self.definition.name,
                path.display()
            );
            Error::with_source(ErrorKind::Corrupt, what, error)
        };
        let described = block::describe(&bytes).map_err(damaged)?;
        if described.description != self.description(entity) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "source {}: {} holds rows of another source or entity: put it back where it was",
                    self.definition.name,
                    path.display()
                ),
            ));
        }
        let decoded = block::decode(bytes, &described.schema).map_err(damaged)?;
        let is_time = |name: &str| {
            decoded
                .batch
                .column_by_name(name)
                .is_some_and(|values| values.as_primitive_opt::<TimestampNanosecondType>().is_some())
        };
        match is_time(EVENT_TIME) && is_time(CREATED_TIME) {
            true => Ok(decoded.batch),
            false => Err(self.error(format!("{} has no times: it was not pushed", path.display()))),
        }
    }

    fn description(&self, entity: Option<&EntityKey>) -> block::Description {
        let mut pairs = vec![(SOURCE.to_owned(), self.definition.name.to_string())];
        // A map of text and numbers always has a JSON form.
        pairs.extend(entity.map(|entity| (ENTITY.to_owned(), serde_json::to_string(entity).unwrap_or_default())));
        pairs
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            self.error(format!("it has no column {name}: its columns are {}", names.join(", ")))
        })
    }

    fn drops(&self, column: usize) -> bool {
        let rules = self.columns.get(column).and_then(|column| self.definition.valid.get(&column.name));
        rules.is_some_and(|rules| rules.on_violation == OnViolation::Drop)
    }

    fn error(&self, what: String) -> Error {
        Error::with_source(ErrorKind::Invalid, format!("source {}", self.definition.name), what)
    }
}

fn field(column: &Column) -> Field {
    Field::new(&column.name, column.value_type.data_type(), true)
}

/// Arrow refused what always fits.
fn broken(error: arrow::error::ArrowError) -> Error {
    Error::with_source(ErrorKind::Internal, "pushed rows do not fit together", error)
}
