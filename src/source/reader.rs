//! The rows of a range, the entities, the newest row.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::attempt::{Attempt, steadily, unreadable};
use super::cast::Caster;
use super::column::{Column, Sample, columns, without_type};
use super::engine::Lease;
use super::file::SourceFile;
use super::gather::Gathered;
use super::intake::{Keys, bar};
use super::moment::Clockface;
use super::partition::{self, Days};
#[cfg(feature = "postgres")]
use super::postgres::{Database, Query};
use super::rows::Rows;
use super::scan::{Scan, damaged};
use super::sheet::{Columns, Format, Sheet, describe, guess};
use super::versions::{Versions, filled_from};
use super::walk::{Candidate, Paths, Wanted};
use crate::definition::{
    EntityDefinition, Environment, Layout, OnViolation, PathPattern, SourceDefinition, SourceKeys, SourceKind,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, KeyName, KeyType, KeyValue, TimeRange, Timestamp};

/// Of how many files the columns are remembered.
const REMEMBERED: usize = 100_000;

/// Reads one source. It may be shared between threads, and keeps no file open.
///
/// The first file says which columns there are and of which types; those of the others are the same, or narrower
/// numbers. Of a CSV file all values of the first decide. A database says it when the source is opened, and each time it
/// is read its types are still the same or narrower.
pub struct Reader {
    definition: SourceDefinition,
    origin: Origin,
    caster: Caster,
    sample: Sample,
    columns: Vec<Column>,
    #[cfg(test)]
    pub(super) seam: Seam,
}

/// What holds the rows.
enum Origin {
    Files(Files),
    #[cfg(feature = "postgres")]
    Postgres(Box<Database>),
}

struct Files {
    paths: Paths,
    format: Format,
    remembered: Mutex<HashMap<SourceFile, Arc<Columns>>>,
}

#[cfg(test)]
type AfterReading = Box<dyn Fn(&Path) + Send + Sync>;

/// What tests see of a reader, and do to it.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Seam {
    /// Done after a file has been read, and before it is known whether it changed.
    pub(super) after_reading: Option<AfterReading>,
    /// How many directories the last search listed.
    pub(super) listed: std::sync::atomic::AtomicUsize,
}

impl Reader {
    /// A reader of the source's files or database. Looks at the first file or the database, which says what types the
    /// columns have.
    ///
    /// # Errors
    /// `NotFound` where there is no file, database or table; `Invalid` where a variable of a path is not set, a column
    /// is not there, or the source is pushed; `Corrupt` where the file is damaged; `Unavailable` where the database
    /// does not answer.
    pub fn open(definition: &SourceDefinition, environment: &Environment) -> Result<Self> {
        let in_source = |error: Error| in_source(definition, error);
        let (origin, sample) = match &definition.kind {
            SourceKind::Parquet { paths } => Files::open(definition, environment, paths, Format::Parquet)?,
            SourceKind::Csv { paths, format } => {
                Files::open(definition, environment, paths, Format::Csv(format.clone()))?
            }
            #[cfg(feature = "postgres")]
            SourceKind::Postgres(postgres) => {
                let database = Database::open(definition, postgres, environment)?;
                let sample = database.sample()?;
                (Origin::Postgres(Box::new(database)), sample)
            }
            #[cfg(not(feature = "postgres"))]
            SourceKind::Postgres(_) => {
                return Err(in_source(Error::invalid(
                    "this program was built without PostgreSQL: build it with the cargo feature postgres",
                )));
            }
            SourceKind::Push => {
                return Err(in_source(Error::invalid("its kind is push: only parquet and csv have files")));
            }
        };
        let (decimal, typed) = match &origin {
            Origin::Files(Files { format: Format::Csv(csv), .. }) => (csv.decimal, false),
            _ => ('.', true),
        };
        let clock = Clockface::new(&definition.time_zone, definition.time_unit);
        for column in [Some(&definition.event_time), definition.created_time.as_ref()].into_iter().flatten() {
            let found = sample.required("the time column", column).map_err(in_source)?;
            if let (true, Some(objection)) = (typed, clock.objection(found)) {
                return Err(in_source(Error::invalid(format!("column {column} of {} {objection}", sample.place))));
            }
        }
        Ok(Self {
            columns: columns(definition, &sample).map_err(in_source)?,
            definition: definition.clone(),
            caster: Caster { clock, decimal },
            origin,
            sample,
            #[cfg(test)]
            seam: Seam::default(),
        })
    }

    /// What it reads.
    pub fn definition(&self) -> &SourceDefinition {
        &self.definition
    }

    /// The columns that can be asked for, under their names in the definition, with their types.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| Field::new(&column.name, column.value_type.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The rows of `entity` with `range.start <= event time < range.end`, with these columns.
    ///
    /// A wide table's row counts whatever columns are asked for. A long one has a row wherever one of the series that
    /// are asked for has.
    ///
    /// # Errors
    /// `Invalid` where a column is unknown, or what the files hold is not what the definition allows; `NotFound`
    /// where all files are gone; `Corrupt` where a file is damaged; `Unavailable` where one cannot be read or keeps
    /// changing.
    pub fn read(&self, entity: &EntityKey, range: TimeRange, columns: &[&str]) -> Result<Rows> {
        self.versions(entity, range, columns)?.rows(range)
    }

    /// Every version of the rows that [`read`](Self::read) chooses from.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), but for rows that are not allowed: which of them count is not decided yet.
    pub fn versions(&self, entity: &EntityKey, range: TimeRange, columns: &[&str]) -> Result<Versions<'_>> {
        let keys = self.keys(entity)?;
        let mut wanted = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        let tables = match self.definition.layout {
            Layout::Wide => {
                // Whether a row is left out must not depend on what else is asked for.
                wanted.extend(
                    self.columns.iter().filter(|column| self.drops(column) && !columns.contains(&&*column.name)),
                );
                1
            }
            Layout::Long { .. } => wanted.len(),
        };
        let between = (filled_from(&self.definition, range).as_ns(), range.end().as_ns());
        let empty = || {
            let mut gathered = vec![];
            gathered.resize_with(tables, || Gathered::new(if tables == 1 { wanted.len() } else { 1 }));
            gathered
        };
        let gathered = match &self.origin {
            Origin::Files(files) => self.steadily(|attempt| {
                let mut gathered = empty();
                for candidate in self.find(files, &keys, Some(between))? {
                    let sheet = files.sheet(&self.definition, attempt, &candidate.path)?;
                    self.scan(&attempt.lease).rows(&sheet, &keys, between, &wanted, &mut gathered)?;
                    #[cfg(test)]
                    self.seam.after_reading.iter().for_each(|then| then(&candidate.path));
                }
                Ok(gathered)
            })?,
            #[cfg(feature = "postgres")]
            Origin::Postgres(database) => {
                let mut gathered = empty();
                self.query(database).rows(&keys, between, &wanted, &mut gathered)?;
                gathered
            }
        };
        Ok(Versions { source: &self.definition, keys, columns: wanted, asked: columns.len(), gathered })
    }

    /// The entities that have rows in the range, whatever the definition makes of those.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and `Invalid` where the rows belong to every entity, or a key's value is none.
    pub fn entities(&self, entity: &EntityDefinition, range: TimeRange) -> Result<BTreeSet<EntityKey>> {
        let names: Vec<&KeyName> = entity.keys.keys().collect();
        let columns = self.key_columns(&names)?;
        if columns.is_empty() {
            return Err(self.error("it has no keys, so its rows belong to every entity: name the entities".to_owned()));
        }
        let between = (range.start().as_ns(), range.end().as_ns());
        match &self.origin {
            Origin::Files(files) => self.steadily(|attempt| {
                let mut entities = BTreeSet::new();
                for candidate in self.find(files, &Vec::new(), Some(between))? {
                    let sheet = files.sheet(&self.definition, attempt, &candidate.path)?;
                    self.scan(&attempt.lease).entities(&sheet, &columns, between, |values| {
                        entities.insert(self.entity(entity, values, &candidate.path.display().to_string())?);
                        Ok(())
                    })?;
                }
                Ok(entities)
            }),
            #[cfg(feature = "postgres")]
            Origin::Postgres(database) => {
                let found = self.query(database).entities(&columns, between)?;
                found.into_iter().map(|values| self.entity(entity, values, &self.sample.place)).collect()
            }
        }
    }

    fn entity(&self, entity: &EntityDefinition, values: Vec<String>, place: &str) -> Result<EntityKey> {
        let value = |name: &KeyName, key_type: KeyType, text: String| match key_type {
            KeyType::Text => Ok(KeyValue::from(text)),
            KeyType::Integer => text.parse::<i64>().map(KeyValue::from).map_err(|_| {
                Error::invalid(format!("key {name} is {text:?}, which is no integer: make it text, or correct it"))
            }),
        };
        let pairs = entity.keys.iter().zip(values);
        let pairs = pairs.map(|((name, key_type), text)| Ok((name.as_str(), value(name, *key_type, text)?)));
        let pairs = pairs.collect::<Result<Vec<_>>>();
        pairs.and_then(EntityKey::new).map_err(|error| self.error(format!("{place}: {error}")))
    }

    /// The event time of the newest row of an entity, or of all.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn newest(&self, entity: Option<&EntityKey>) -> Result<Option<Timestamp>> {
        let keys = entity.map(|entity| self.keys(entity)).transpose()?.unwrap_or_default();
        #[cfg(feature = "postgres")]
        if let Origin::Postgres(database) = &self.origin {
            return Ok(self.query(database).newest(&keys)?.map(Timestamp::from_ns));
        }
        let Some(files) = self.in_files() else { return Ok(None) };
        self.steadily(|attempt| {
            let mut found = self.find(files, &keys, None)?;
            // Newest days first; those that do not say their days may hold anything.
            found.sort_by_key(|file| std::cmp::Reverse(file.days.map_or(i64::MAX, |days| days.last)));
            let mut newest = None;
            for file in found {
                let end = file.days.map_or(i64::MAX, |days| days.end_ns().saturating_add(bar(&self.definition)));
                if newest.is_some_and(|newest| newest >= end) {
                    break;
                }
                let sheet = files.sheet(&self.definition, attempt, &file.path)?;
                newest = newest.max(self.scan(&attempt.lease).newest(&sheet, &keys)?);
            }
            Ok(newest.map(Timestamp::from_ns))
        })
    }

    /// All files of the source, in the order in which they are read; none of a database.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be read.
    pub fn files(&self) -> Result<Vec<SourceFile>> {
        let Some(of) = self.in_files() else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for candidate in of.paths.find(&Wanted::default()).map_err(|error| self.in_source(error))?.0 {
            match SourceFile::at(&candidate.path) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&self.definition, &candidate.path, error)),
            }
        }
        Ok(files)
    }

    /// Whether a file may hold rows of the entity with event times in the range, by the names of its directories.
    pub fn may_hold(&self, file: &Path, entity: &EntityKey, range: TimeRange) -> bool {
        let Ok(keys) = self.keys(entity) else { return true };
        let is_others = |(column, value): (String, Option<String>)| {
            keys.iter().any(|(key, wanted)| *key == column && Some(wanted.to_string()) != value)
        };
        let bar = bar(&self.definition);
        let from = filled_from(&self.definition, range).as_ns().saturating_sub(bar);
        let to = range.end().as_ns().saturating_sub(bar);
        let days = self.in_files().and_then(|files| files.paths.days_of(file));
        let other_days = days.is_some_and(|days| !days.may_hold(Days::of(from, to)));
        !other_days && !partition::columns(file).into_iter().any(is_others)
    }

    fn in_files(&self) -> Option<&Files> {
        match &self.origin {
            Origin::Files(files) => Some(files),
            #[cfg(feature = "postgres")]
            Origin::Postgres(_) => None,
        }
    }

    /// The directories that hold its files or those on the way to them, each with whether all below it does.
    pub fn roots(&self) -> Vec<(PathBuf, bool)> {
        self.in_files().map(|files| files.paths.roots()).unwrap_or_default()
    }

    fn scan<'a>(&'a self, lease: &'a Lease) -> Scan<'a> {
        Scan { source: &self.definition, sample: &self.sample, caster: &self.caster, lease }
    }

    #[cfg(feature = "postgres")]
    fn query<'a>(&'a self, database: &'a Database) -> Query<'a> {
        Query { source: &self.definition, sample: &self.sample, caster: &self.caster, database }
    }

    /// The files that may hold rows of these keys and event times. That there is no file at all is an error: a
    /// directory that is not mounted is not an empty source.
    fn find(&self, files: &Files, keys: &Keys, between: Option<(i64, i64)>) -> Result<Vec<Candidate>> {
        let bar = bar(&self.definition);
        let days = between.map(|(from, to)| Days::of(from.saturating_sub(bar), to.saturating_sub(bar)));
        let values = keys.iter().map(|(column, value)| (column.clone(), value.to_string())).collect();
        let found = files.paths.find(&Wanted { values, days }).map_err(|error| self.in_source(error))?;
        #[cfg(test)]
        self.seam.listed.store(found.1, std::sync::atomic::Ordering::Relaxed);
        if found.0.is_empty() && files.paths.first().map_err(|error| self.in_source(error))?.is_none() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("source {}: all its files are gone: is their disk mounted?", self.definition.name),
            ));
        }
        Ok(found.0)
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            let unknown = || self.error(format!("it has no column {name}: its columns are {}", names.join(", ")));
            self.objection(name).unwrap_or_else(unknown)
        })
    }

    /// Why a column that the source has is none that can be asked for.
    pub(crate) fn objection(&self, name: &str) -> Option<Error> {
        let found = self.sample.found(name).filter(|found| found.value_type().is_none())?;
        let own_names = self.definition.layout == Layout::Wide && self.definition.columns.is_none();
        own_names.then(|| self.error(without_type(name, found, &self.sample.place)))
    }

    fn drops(&self, column: &Column) -> bool {
        self.definition.valid.get(&column.name).is_some_and(|rules| rules.on_violation == OnViolation::Drop)
    }

    fn keys(&self, entity: &EntityKey) -> Result<Keys> {
        let names: Vec<&KeyName> = entity.pairs().map(|(name, _)| name).collect();
        let columns = self.key_columns(&names)?;
        Ok(columns.into_iter().zip(entity.pairs()).map(|(column, (_, value))| (column, value.clone())).collect())
    }

    /// The columns of these keys in their order; none where the rows belong to every entity.
    fn key_columns(&self, names: &[&KeyName]) -> Result<Vec<String>> {
        match &self.definition.keys {
            SourceKeys::None => Ok(Vec::new()),
            SourceKeys::SameNames => Ok(names.iter().map(|name| name.as_str().to_owned()).collect()),
            SourceKeys::Columns(columns) if columns.len() == names.len() => {
                let column = |name: &&KeyName| columns.get(*name).cloned().ok_or_else(|| self.other_keys(names));
                names.iter().map(column).collect()
            }
            SourceKeys::Columns(_) => Err(self.other_keys(names)),
        }
    }

    fn other_keys(&self, names: &[&KeyName]) -> Error {
        let own = match &self.definition.keys {
            SourceKeys::Columns(columns) => columns.keys().map(KeyName::as_str).collect(),
            _ => Vec::new(),
        };
        let asked: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        self.error(format!("its keys are {}, not {}", own.join(", "), asked.join(", ")))
    }

    fn steadily<T>(&self, read: impl FnMut(&mut Attempt) -> Result<T>) -> Result<T> {
        steadily(&self.definition, read)
    }

    fn error(&self, what: String) -> Error {
        self.in_source(Error::invalid(what))
    }

    fn in_source(&self, error: Error) -> Error {
        in_source(&self.definition, error)
    }
}

impl Files {
    /// The files of these paths, and the first of them as a sample.
    fn open(
        definition: &SourceDefinition,
        environment: &Environment,
        patterns: &[PathPattern],
        format: Format,
    ) -> Result<(Origin, Sample)> {
        let in_source = |error: Error| in_source(definition, error);
        let expanded = patterns.iter().map(|path| path.expand(environment)).collect::<Result<Vec<_>>>();
        let expanded = expanded.map_err(in_source)?;
        let paths = Paths::new(expanded.iter().map(PathBuf::as_path), &definition.event_time).map_err(in_source)?;
        let first = paths.first().map_err(in_source)?.ok_or_else(|| nothing(definition, &expanded))?;
        let sample = steadily(definition, |attempt| {
            let opened = attempt.open(definition, &first)?;
            let columns = match &format {
                Format::Csv(csv) => guess(&attempt.lease, &opened, csv),
                Format::Parquet => describe(&attempt.lease, &opened, &format),
            };
            let columns = Arc::new(columns.map_err(|error| damaged(&definition.name, &opened, &error))?);
            let sheet = Sheet::new(opened, &format, columns);
            Ok(Sample { place: first.display().to_string(), columns: sheet.all() })
        })?;
        Ok((Origin::Files(Self { paths, format, remembered: Mutex::default() }), sample))
    }

    fn sheet(&self, definition: &SourceDefinition, attempt: &mut Attempt, path: &Path) -> Result<Sheet> {
        let opened = attempt.open(definition, path)?;
        let known = self.remembered().get(&opened.was).cloned();
        let columns = match known {
            Some(columns) => columns,
            None => {
                let columns = describe(&attempt.lease, &opened, &self.format);
                let columns = columns.map_err(|error| damaged(&definition.name, &opened, &error))?;
                let columns = Arc::new(columns);
                let mut remembered = self.remembered();
                if remembered.len() >= REMEMBERED {
                    remembered.clear();
                }
                remembered.insert(opened.was.clone(), columns.clone());
                columns
            }
        };
        Ok(Sheet::new(opened, &self.format, columns))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<SourceFile, Arc<Columns>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({})", self.definition.name)
    }
}

fn in_source(source: &SourceDefinition, error: Error) -> Error {
    let message = format!("source {}", source.name);
    Error::with_source(error.kind(), message, error.to_string())
}

/// There is no file, but there are directories on the way to one.
fn nothing(source: &SourceDefinition, patterns: &[PathBuf]) -> Error {
    let described = patterns.iter().map(|pattern| {
        let there = pattern.ancestors().skip(1).find(|directory| directory.is_dir()).unwrap_or(Path::new("/"));
        format!("{} ({} is there)", pattern.display(), there.display())
    });
    let described: Vec<_> = described.collect();
    Error::new(
        ErrorKind::NotFound,
        format!("source {}: no file is called {}: check its path", source.name, described.join(" or ")),
    )
}
