//! What the definition makes of the rows that were found.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampNanosecondArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};

use super::column::Column;
use super::gather::Gathered;
use super::intake::{Keys, shown};
use super::policy::{fill, is_possible, winners};
use super::rows::Rows;
use crate::definition::{Fill, Layout, OnViolation, SourceDefinition, SourceKind};
use crate::error::{Error, Result};
use crate::model::{TimeRange, Timestamp};

/// A column of rows to be, each with the found row that its value is taken from.
struct Cells<'a> {
    column: &'a Column,
    gathered: &'a Gathered,
    values: ArrayRef,
    picks: Vec<Option<u32>>,
}

/// Rows to be, in the order of their event times.
struct Grid<'a> {
    times: Vec<i64>,
    /// One per row, or none where there is no created time.
    created: Vec<Option<i64>>,
    cells: Vec<Cells<'a>>,
}

/// Settles what was found of one source and entity.
pub(super) struct Settle<'a> {
    pub(super) source: &'a SourceDefinition,
    pub(super) keys: &'a Keys,
}

impl Settle<'_> {
    /// The rows of `range` with the first `asked` of these columns: of all in one for a wide table, of one each for a
    /// long one.
    pub(super) fn rows(
        &self,
        gathered: &[Gathered],
        columns: &[&Column],
        asked: usize,
        range: TimeRange,
    ) -> Result<Rows> {
        if let (Layout::Wide, [gathered]) = (&self.source.layout, gathered)
            && self.stays(gathered, columns, range)
        {
            return self.as_they_are(gathered, columns.get(..asked).unwrap_or(columns));
        }
        let mut grid = match (&self.source.layout, gathered) {
            (Layout::Wide, [gathered]) => self.wide(gathered, columns)?,
            (Layout::Long { .. }, _) => self.long(gathered, columns)?,
            _ => return Err(Error::internal("a wide table was gathered in pieces")),
        };
        grid.cells.truncate(asked);
        if let Some(Fill::Last { within }) = self.source.fill {
            for cells in &mut grid.cells {
                let own = cells.picks.iter().map(|pick| pick.filter(|row| cells.values.is_valid(*row as usize)));
                let filled = fill(&grid.times, &own.collect::<Vec<_>>(), within);
                for (at, (before, after)) in cells.picks.iter().zip(&filled).enumerate() {
                    if let (true, Some(row), Some(known)) = (before != after, after, grid.created.get_mut(at)) {
                        *known = both_known(*known, cells.gathered.created(*row));
                    }
                }
                cells.picks = filled;
            }
        }
        grid.cut(range, self.source.created_time.is_some())
    }

    /// Whether nothing can become of these rows: each has its own time, they are in order and in the range, no value is
    /// held against rules, and no null is filled.
    fn stays(&self, gathered: &Gathered, columns: &[&Column], range: TimeRange) -> bool {
        let ends = gathered.times.first().into_iter().chain(gathered.times.last());
        self.source.fill.is_none()
            && !columns.iter().any(|column| self.source.valid.contains_key(&column.name))
            && ends.into_iter().all(|at| range.contains(Timestamp::from_ns(*at)))
            && gathered.times.is_sorted_by(|a, b| a < b)
    }

    /// The rows without a look at each.
    fn as_they_are(&self, gathered: &Gathered, columns: &[&Column]) -> Result<Rows> {
        let values = columns.iter().enumerate().map(|(at, column)| Ok((*column, gathered.values(at, column)?)));
        let values = values.collect::<Result<Vec<_>>>()?;
        let created = || (0..).zip(&gathered.times).map(|(row, _)| gathered.created(row)).collect();
        rows(gathered.times.clone(), self.source.created_time.as_ref().map(|_| created()), values)
    }

    fn wide<'a>(&self, gathered: &'a Gathered, columns: &[&'a Column]) -> Result<Grid<'a>> {
        let mut rows = self.winners(gathered)?;
        let mut values = Vec::with_capacity(columns.len());
        let mut nulled = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            let own = gathered.values(at, column)?;
            let (dropped, null) = self.violations(gathered, column, &own, &rows)?;
            rows.retain(|row| dropped.binary_search(row).is_err());
            values.push(own);
            nulled.push(null);
        }
        let cells = columns.iter().zip(values).zip(nulled).map(|((column, values), null)| {
            let picks = rows.iter().map(|row| null.binary_search(row).is_err().then_some(*row)).collect();
            Cells { column, gathered, values, picks }
        });
        let cells = cells.collect();
        let created = rows.iter().map(|row| gathered.created(*row)).collect();
        let times = rows.iter().map(|row| gathered.time(*row)).collect();
        Ok(Grid { times, created, cells })
    }

    fn long<'a>(&self, gathered: &'a [Gathered], columns: &[&'a Column]) -> Result<Grid<'a>> {
        let mut times: Vec<i64> = gathered.iter().flat_map(|gathered| gathered.times.iter().copied()).collect();
        times.sort_unstable();
        times.dedup();
        let mut series = Vec::with_capacity(columns.len());
        for (column, gathered) in columns.iter().zip(gathered) {
            let mut rows = self.winners(gathered)?;
            let values = gathered.values(0, column)?;
            let (dropped, null) = self.violations(gathered, column, &values, &rows)?;
            rows.retain(|row| dropped.binary_search(row).is_err());
            series.push((gathered, values, rows, null));
        }
        // A row that was left out may have been the only one of its time.
        let mut any = vec![false; times.len()];
        let place = |time: i64| times.binary_search(&time).ok();
        let mut created: Vec<Option<Option<i64>>> = vec![None; times.len()];
        let mut cells = Vec::with_capacity(columns.len());
        for (column, (gathered, values, rows, null)) in columns.iter().zip(series) {
            let mut picks = vec![None; times.len()];
            for row in rows {
                let Some(at) = place(gathered.time(row)) else { continue };
                if let Some(any) = any.get_mut(at) {
                    *any = true;
                }
                if let (Some(pick), true) = (picks.get_mut(at), null.binary_search(&row).is_err()) {
                    *pick = Some(row);
                }
                if let Some(known) = created.get_mut(at) {
                    let own = gathered.created(row);
                    *known = Some(known.map_or(own, |known| both_known(known, own)));
                }
            }
            cells.push(Cells { column, gathered, values, picks });
        }
        let mut grid = Grid { times, created: created.into_iter().map(Option::flatten).collect(), cells };
        grid.retain(&any);
        Ok(grid)
    }

    fn winners(&self, gathered: &Gathered) -> Result<Vec<u32>> {
        if u32::try_from(gathered.times.len()).is_err() {
            let count = gathered.times.len();
            return Err(self.error(format!("{count} rows are more than can be held at once: ask for a shorter range")));
        }
        winners(&gathered.times, &gathered.created, self.source.on_duplicate).map_err(|duplicate| {
            let [one, other] = duplicate.rows.map(|row| gathered.place(row));
            let at = Timestamp::from_ns(gathered.time(duplicate.rows[0]));
            let advice = match self.source.kind {
                SourceKind::Postgres(_) => "keep one of them, or say with created_time which is newer",
                _ => "correct the files, or say which counts with on_duplicate",
            };
            self.error(format!("two rows of {} at {at}, in {one} and {other}: {advice}", shown(self.keys)))
        })
    }

    /// Of these rows, those that are left out and those whose value is none, each in the order of their numbers.
    fn violations(
        &self,
        gathered: &Gathered,
        column: &Column,
        values: &ArrayRef,
        rows: &[u32],
    ) -> Result<(Vec<u32>, Vec<u32>)> {
        let Some(rules) = self.source.valid.get(&column.name) else { return Ok((Vec::new(), Vec::new())) };
        let numbers = cast(values, &DataType::Float64).map_err(|error| Error::internal(error.to_string()))?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let mut impossible: Vec<u32> = Vec::new();
        for row in rows {
            let at = *row as usize;
            if numbers.is_null(at) || is_possible(numbers.value(at), rules) {
                continue;
            }
            if rules.on_violation == OnViolation::Error {
                let (name, value, place) = (&column.name, numbers.value(at), gathered.place(*row));
                let when = Timestamp::from_ns(gathered.time(*row));
                return Err(self.error(format!(
                    "{name} of {} is {value} at {when} in {place}, which is impossible: correct it, or say what \
                     becomes of such values with on_violation",
                    shown(self.keys)
                )));
            }
            impossible.push(*row);
        }
        impossible.sort_unstable();
        Ok(match rules.on_violation {
            OnViolation::Drop => (impossible, Vec::new()),
            _ => (Vec::new(), impossible),
        })
    }

    fn error(&self, what: String) -> Error {
        Error::invalid(format!("source {}: {what}", self.source.name))
    }
}

impl Grid<'_> {
    /// Keeps the rows of which `keep` is true.
    fn retain(&mut self, keep: &[bool]) {
        fn kept<T>(values: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            values.retain(|_| keep.next().copied().unwrap_or_default());
        }
        kept(&mut self.times, keep);
        kept(&mut self.created, keep);
        self.cells.iter_mut().for_each(|cells| kept(&mut cells.picks, keep));
    }

    fn cut(mut self, range: TimeRange, with_created: bool) -> Result<Rows> {
        let inside: Vec<bool> = self.times.iter().map(|at| range.contains(Timestamp::from_ns(*at))).collect();
        self.retain(&inside);
        let mut columns = Vec::with_capacity(self.cells.len());
        for cells in self.cells {
            let picks = UInt32Array::from(cells.picks);
            let values = take(&cells.values, &picks, None);
            columns.push((cells.column, values.map_err(|error| Error::internal(error.to_string()))?));
        }
        rows(self.times, with_created.then_some(self.created), columns)
    }
}

fn rows<'a>(
    times: Vec<i64>,
    created: Option<Vec<Option<i64>>>,
    columns: impl IntoIterator<Item = (&'a Column, ArrayRef)>,
) -> Result<Rows> {
    let field = |column: &Column| Field::new(&column.name, column.value_type.data_type(), true);
    let (fields, columns): (Vec<_>, _) = columns.into_iter().map(|(column, values)| (field(column), values)).unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(times.len()));
    let batch = RecordBatch::try_new_with_options(Schema::new(fields).into(), columns, &options)
        .map_err(|error| Error::internal(format!("rows of a source do not fit together: {error}")))?;
    let created = created.map(|created| TimestampNanosecondArray::from(created).with_timezone("UTC"));
    Ok(Rows { times: TimestampNanosecondArray::from(times).with_timezone("UTC"), created, batch })
}

/// When both of two values are known; not known where one does not say.
fn both_known(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.zip(other).map(|(one, other)| one.max(other))
}
