//! Records: a header of serial types, and the values
//! (<https://www.sqlite.org/fileformat2.html#record_format>).

use super::header::{Encoding, array};
use super::varint::varint;

/// More columns no table can have (`SQLITE_MAX_COLUMN` in its limits).
const MOST_FIELDS: usize = 32_767;

/// A value, its text in UTF-8 where the file has UTF-16, and otherwise the bytes that the file has.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
}

/// Bytes of a value of a serial type; `None` for the two that do not occur.
const fn size(serial: u64) -> Option<u64> {
    match serial {
        0 | 8 | 9 => Some(0),
        1..=4 => Some(serial),
        5 => Some(6),
        6 | 7 => Some(8),
        10 | 11 => None,
        _ => Some((serial - 12) / 2),
    }
}

/// The header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The serial types.
    pub types: Vec<u64>,
    /// Bytes of the header.
    header: usize,
    /// Bytes of the whole record, by the types.
    pub length: u64,
}

impl Fields {
    /// Reads the header of the record that begins with `start`. `None` where it is not all there,
    /// or is none.
    ///
    /// In what SQLite writes, [`Fields::length`] is exactly that of the record, so that hardly any
    /// damage of a header passes for another one.
    pub fn read(start: &[u8]) -> Option<Self> {
        let (header, mut at) = varint(start)?;
        let header = usize::try_from(header).ok()?;
        let bytes = start.get(..header)?;
        let (mut types, mut length) = (Vec::new(), header as u64);
        while at < header {
            let (serial, size_of_type) = varint(bytes.get(at..)?)?;
            at += size_of_type;
            length = length.checked_add(size(serial).unwrap_or(0))?;
            if types.len() == MOST_FIELDS {
                return None;
            }
            types.push(serial);
        }
        (at == header).then_some(Self { types, header, length })
    }

    /// The values, out of what was found of the record. One that is not there whole, or that is
    /// none in this encoding, is `None`.
    pub fn values(&self, found: &[u8], encoding: Encoding) -> Vec<Option<Value>> {
        let mut at = self.header;
        let mut one = |serial: &u64| {
            let end = at.checked_add(usize::try_from(size(*serial)?).ok()?)?;
            let bytes = found.get(std::mem::replace(&mut at, end)..end)?;
            value(*serial, bytes, encoding)
        };
        self.types.iter().map(&mut one).collect()
    }
}

fn value(serial: u64, bytes: &[u8], encoding: Encoding) -> Option<Value> {
    Some(match serial {
        0 => Value::Null,
        1..=6 => {
            let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
            let start = if negative { -1 } else { 0 };
            Value::Integer(bytes.iter().fold(start, |value: i64, &byte| value << 8 | i64::from(byte)))
        }
        7 => {
            let real = f64::from_be_bytes(array(bytes, 0)?);
            // SQLite stores NULL for it.
            (!real.is_nan()).then_some(Value::Real(real))?
        }
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        _ if serial.is_multiple_of(2) => Value::Blob(bytes.to_vec()),
        _ => Value::Text(text(bytes, encoding)?),
    })
}

fn text(bytes: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    let unit = match encoding {
        Encoding::Utf8 => return Some(bytes.to_vec()),
        Encoding::Utf16Le => u16::from_le_bytes,
        Encoding::Utf16Be => u16::from_be_bytes,
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut units = pairs.iter().map(|pair| u32::from(unit(*pair)));
    let mut text = String::with_capacity(bytes.len());
    // As SQLite reads it: a surrogate takes the next unit for its other half, whatever that is.
    while let Some(first) = units.next() {
        let code = match first {
            0xd800..0xe000 => 0x1_0000 + ((first & 0x3ff) << 10) + (units.next()? & 0x3ff),
            _ => first,
        };
        text.push(char::from_u32(code)?);
    }
    rest.is_empty().then_some(text.into_bytes())
}
