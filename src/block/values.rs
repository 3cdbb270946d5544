//! Arrow arrays as bare physical values, and back.

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanBufferBuilder, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Int8Type, Int16Type, UInt8Type, UInt16Type};

use super::layout::Layout;
use super::word::Word;

/// The values of a column without its nulls.
pub(super) enum Values<'a> {
    /// Bits.
    Bits(BooleanBuffer),
    /// Values of 4 bytes.
    Words4(ScalarBuffer<u32>),
    /// Values of 8 bytes.
    Words8(ScalarBuffer<u64>),
    /// Values of this many bytes each, one after another.
    Fixed(usize, Vec<u8>),
    /// Values of any length.
    Bytes(Vec<&'a [u8]>),
}

impl<'a> Values<'a> {
    /// The values of `array`, which holds no null and lies as `layout` says.
    pub(super) fn of(array: &'a dyn Array, layout: Layout) -> Option<Self> {
        Some(match layout {
            Layout::Bits => Self::Bits(array.as_boolean_opt()?.values().clone()),
            Layout::Narrow => Self::Words4(widened(array)?),
            Layout::Word4(_) => Self::Words4(words(array)?),
            Layout::Word8(_) => Self::Words8(words(array)?),
            Layout::Decimal4 => Self::Words4(decimals(array)?.map(|value| value as u32).collect()),
            Layout::Decimal8 => Self::Words8(decimals(array)?.map(|value| value as u64).collect()),
            Layout::Decimal(width) => Self::Fixed(width, big_endian(decimals(array)?, width)),
            Layout::Bytes => Self::Bytes(match array.data_type() {
                DataType::Utf8 => {
                    let text = array.as_string_opt::<i32>()?;
                    text.iter().flatten().map(str::as_bytes).collect()
                }
                _ => array.as_binary_opt::<i32>()?.iter().flatten().collect(),
            }),
        })
    }
}

/// The values of a primitive array as they lie in memory; no copy.
fn words<W: Word>(array: &dyn Array) -> Option<ScalarBuffer<W>> {
    let data = array.to_data();
    let buffer = data.buffers().first()?.clone();
    Some(ScalarBuffer::new(buffer, data.offset(), data.len()))
}

/// Short integers widened to 32 bits by their own sign, as Parquet asks.
fn widened(array: &dyn Array) -> Option<ScalarBuffer<u32>> {
    macro_rules! widen {
        ($of:ty) => {
            array.as_primitive_opt::<$of>()?.values().iter().map(|v| i32::from(*v) as u32).collect()
        };
    }
    Some(match array.data_type() {
        DataType::Int8 => widen!(Int8Type),
        DataType::UInt8 => widen!(UInt8Type),
        DataType::Int16 => widen!(Int16Type),
        DataType::UInt16 => widen!(UInt16Type),
        _ => return None,
    })
}

fn decimals(array: &dyn Array) -> Option<impl Iterator<Item = i128>> {
    Some(array.as_primitive_opt::<Decimal128Type>()?.values().iter().copied())
}

fn big_endian(values: impl Iterator<Item = i128>, width: usize) -> Vec<u8> {
    let skip = size_of::<i128>().saturating_sub(width);
    values.flat_map(|value| value.to_be_bytes().into_iter().skip(skip)).collect()
}

/// A column while its pages are read: values without nulls, in physical form.
pub(super) enum Collected {
    /// Bits.
    Bits(BooleanBufferBuilder),
    /// Values of 4 bytes.
    Words4(Vec<u32>),
    /// Values of 8 bytes.
    Words8(Vec<u64>),
    /// Big-endian decimals.
    Fixed(Vec<i128>),
    /// Values of any length; `offsets` has one more than there are values.
    Bytes {
        /// Where each value starts, and the last one ends.
        offsets: Vec<i32>,
        /// The values, one after another.
        data: Vec<u8>,
    },
}

impl Collected {
    /// Room for `rows` values.
    pub(super) fn with_room(layout: Layout, rows: usize) -> Self {
        match layout {
            Layout::Bits => Self::Bits(BooleanBufferBuilder::new(rows)),
            Layout::Narrow | Layout::Word4(_) | Layout::Decimal4 => Self::Words4(Vec::with_capacity(rows)),
            Layout::Word8(_) | Layout::Decimal8 => Self::Words8(Vec::with_capacity(rows)),
            Layout::Decimal(_) => Self::Fixed(Vec::with_capacity(rows)),
            Layout::Bytes => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                Self::Bytes { offsets, data: Vec::new() }
            }
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bits(bits) => bits.len(),
            Self::Words4(words) => words.len(),
            Self::Words8(words) => words.len(),
            Self::Fixed(values) => values.len(),
            Self::Bytes { offsets, .. } => offsets.len().saturating_sub(1),
        }
    }

    /// The array of `data_type` with these values where `nulls` is valid.
    ///
    /// Arrow checks what it is given: text that is no UTF-8 is an error.
    pub(super) fn finish(self, data_type: &DataType, nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
        let valid = nulls.as_ref();
        let rows = valid.map_or(self.len(), NullBuffer::len);
        let out_of_range = || format!("a value does not fit {data_type}");
        let mut builder = ArrayData::builder(data_type.clone()).len(rows);
        builder = match self {
            Self::Bits(bits) => builder.add_buffer(spread_bits(bits, valid)),
            Self::Words4(words) => match narrowed(data_type, spread(words, valid)) {
                Some(buffer) => builder.add_buffer(buffer),
                None => return Err(out_of_range()),
            },
            Self::Words8(words) => builder.add_buffer(match data_type {
                DataType::Decimal128(..) => {
                    let wide = words.into_iter().map(|word| i128::from(word as i64)).collect();
                    spread::<i128>(wide, valid).into()
                }
                _ => spread(words, valid).into(),
            }),
            Self::Fixed(values) => builder.add_buffer(spread(values, valid).into()),
            Self::Bytes { offsets, data } => {
                builder.add_buffer(spread_offsets(offsets, valid).into()).add_buffer(data.into())
            }
        };
        let data = builder.nulls(nulls).build().map_err(|error| error.to_string())?;
        Ok(make_array(data))
    }
}

/// Puts values where `valid` is set and zero elsewhere. The caller has counted:
/// there are as many values as set bits.
fn spread<T: Copy + Default>(values: Vec<T>, valid: Option<&NullBuffer>) -> Vec<T> {
    let Some(valid) = valid else { return values };
    let mut out = vec![T::default(); valid.len()];
    for (at, value) in valid.valid_indices().zip(values) {
        if let Some(slot) = out.get_mut(at) {
            *slot = value;
        }
    }
    out
}

fn spread_bits(mut bits: BooleanBufferBuilder, valid: Option<&NullBuffer>) -> Buffer {
    let bits = bits.finish();
    let Some(valid) = valid else { return bits.into_inner() };
    let mut out = BooleanBufferBuilder::new(valid.len());
    out.append_n(valid.len(), false);
    for (at, bit) in valid.valid_indices().zip(&bits) {
        out.set_bit(at, bit);
    }
    out.finish().into_inner()
}

/// A null takes no bytes: its offset repeats.
fn spread_offsets(offsets: Vec<i32>, valid: Option<&NullBuffer>) -> Vec<i32> {
    let Some(valid) = valid else { return offsets };
    let mut next = offsets.iter().copied();
    let mut end = next.next().unwrap_or_default();
    let ends = valid.iter().map(|valid| {
        if valid {
            end = next.next().unwrap_or(end);
        }
        end
    });
    std::iter::once(0).chain(ends).collect()
}

/// 32-bit physical values in the width of their Arrow type; `None` if one does
/// not fit, which only a forged block can bring about.
fn narrowed(data_type: &DataType, words: Vec<u32>) -> Option<Buffer> {
    macro_rules! narrow {
        ($to:ty) => {{
            let narrow = words.iter().map(|word| <$to>::try_from(*word as i32).ok());
            Buffer::from_vec(narrow.collect::<Option<Vec<$to>>>()?)
        }};
    }
    Some(match data_type {
        DataType::Int8 => narrow!(i8),
        DataType::UInt8 => narrow!(u8),
        DataType::Int16 => narrow!(i16),
        DataType::UInt16 => narrow!(u16),
        DataType::Decimal128(..) => {
            Buffer::from_vec(words.iter().map(|word| i128::from(*word as i32)).collect::<Vec<_>>())
        }
        _ => words.into(),
    })
}
