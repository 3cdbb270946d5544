//! Reads bars from a Parquet file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampNanosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::technical::bars::{Bar, Bars};
use crate::technical::columns::Columns;
use crate::technical::error::BarsError;

/// Reads every bar of a Parquet file, by symbol.
///
/// Columns are found by name, upper or lower case; any others are ignored:
///
/// | column | type | |
/// |---|---|---|
/// | `ts`, or else `event_timestamp`, `timestamp`, `time`, `datetime` | timestamp of any unit; without a zone it is read as UTC | required |
/// | `open`, `high`, `low`, `close` | any float, integer or decimal | required |
/// | `volume` | any float, integer or decimal; NaN where it is null or there is no such column | optional |
/// | `symbol` | text, plain or dictionary; without it the file's stem is the symbol | optional |
///
/// Rows may come in any order. Of rows with the same symbol and time the last one in the file
/// counts; [`Bars::duplicates`] says how many others there were.
///
/// # Errors
///
/// See [`BarsError`]. A file with one bad row is refused as a whole: a bar left out silently would
/// shift every feature computed from the bars after it.
pub fn read_bars(path: impl AsRef<Path>) -> Result<BTreeMap<String, Bars>, BarsError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| BarsError::Open { path: path.into(), source })?;
    let not_parquet = |source| BarsError::NotParquet { path: path.into(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(not_parquet)?;

    let columns = Columns::find(path, builder.schema())?;
    let wanted = ProjectionMask::roots(builder.parquet_schema(), columns.indices());
    let reader = builder.with_projection(wanted).build().map_err(not_parquet)?;

    let mut rows = Rows { path, columns, read: 0, by_symbol: BTreeMap::new() };
    for batch in reader {
        let damaged = |source| BarsError::Damaged { path: path.into(), source };
        rows.add(&batch.map_err(damaged)?)?;
    }
    if rows.by_symbol.is_empty() {
        return Err(BarsError::NoRows { path: path.into() });
    }
    let sorted = |(symbol, rows): (String, Vec<Bar>)| (symbol, rows.into_iter().collect());
    Ok(rows.by_symbol.into_iter().map(sorted).collect())
}

/// The rows read so far, in the order of the file.
struct Rows<'a> {
    path: &'a Path,
    columns: Columns,
    read: usize,
    by_symbol: BTreeMap<String, Vec<Bar>>,
}

impl Rows<'_> {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), BarsError> {
        let batch = Batch::new(self.path, &self.columns, batch)?;
        for row in 0..batch.rows {
            let symbol = batch
                .symbol(row)
                .ok_or_else(|| BarsError::NullSymbol { path: self.path.into(), row: self.read + row })?;
            let bar = batch.bar(row).map_err(|defect| defect.into_error(self.path, symbol, self.read + row))?;
            match self.by_symbol.get_mut(symbol) {
                Some(bars) => bars.push(bar),
                None => {
                    self.by_symbol.insert(symbol.to_owned(), vec![bar]);
                }
            }
        }
        self.read += batch.rows;
        Ok(())
    }
}

/// What is wrong with one row; the caller knows which row of which symbol.
struct Defect<'a> {
    column: &'a str,
    /// `None` where the value is null.
    value: Option<f64>,
}

impl Defect<'_> {
    fn into_error(self, path: &Path, symbol: &str, row: usize) -> BarsError {
        let (path, symbol, column) = (path.into(), symbol.into(), self.column.into());
        match self.value {
            None => BarsError::Null { path, column, row, symbol },
            Some(value) => BarsError::NotFinite { path, column, row, symbol, value },
        }
    }
}

/// One record batch with every column in the type a bar has.
struct Batch<'a> {
    columns: &'a Columns,
    rows: usize,
    symbols: Option<StringArray>,
    ts: ArrayRef,
    prices: [Float64Array; 4],
    volume: Option<Float64Array>,
}

impl<'a> Batch<'a> {
    fn new(path: &Path, columns: &'a Columns, batch: &RecordBatch) -> Result<Self, BarsError> {
        let cast = |name: &str, to: &DataType| cast_column(path, batch, name, to);
        let number = |name: &String| -> Result<Float64Array, BarsError> {
            Ok(cast(name, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        let symbols = match &columns.symbol {
            Some(name) => Some(cast(name, &DataType::Utf8)?.as_string::<i32>().clone()),
            None => None,
        };
        let [open, high, low, close] = &columns.prices;
        Ok(Self {
            columns,
            rows: batch.num_rows(),
            symbols,
            // Keeps a zone as it is: what a timestamp counts is UTC with and without one.
            ts: cast(&columns.ts, &DataType::Timestamp(TimeUnit::Nanosecond, None))?,
            prices: [number(open)?, number(high)?, number(low)?, number(close)?],
            volume: columns.volume.as_ref().map(number).transpose()?,
        })
    }

    fn symbol(&self, row: usize) -> Option<&str> {
        match &self.symbols {
            Some(symbols) => symbols.is_valid(row).then(|| symbols.value(row)),
            None => Some(&self.columns.stem),
        }
    }

    fn bar(&self, row: usize) -> Result<Bar, Defect<'a>> {
        let ts = self.ts.as_primitive::<TimestampNanosecondType>();
        if ts.is_null(row) {
            return Err(Defect { column: &self.columns.ts, value: None });
        }
        let mut prices = [0.0; 4];
        let named = self.prices.iter().zip(&self.columns.prices);
        for (price, (values, column)) in prices.iter_mut().zip(named) {
            let value = values.is_valid(row).then(|| values.value(row));
            *price = match value {
                Some(value) if value.is_finite() => value,
                _ => return Err(Defect { column, value }),
            };
        }
        let [open, high, low, close] = prices;
        let volume = match &self.volume {
            Some(values) if values.is_valid(row) => values.value(row),
            _ => f64::NAN,
        };
        Ok(Bar { ts: ts.value(row), open, high, low, close, volume })
    }
}

fn cast_column(path: &Path, batch: &RecordBatch, name: &str, to: &DataType) -> Result<ArrayRef, BarsError> {
    let column = batch.column_by_name(name).ok_or_else(|| BarsError::missing_column(path, name, batch.schema_ref()))?;
    // Not `safe`: a time outside what nanoseconds can hold is an error, not a null.
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, to, &strict).map_err(|source| BarsError::Cast {
        path: path.into(),
        column: name.into(),
        source,
    })
}
