//! Records: a header of serial types, and the values (<https://www.sqlite.org/fileformat2.html#record_format>).

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
pub(super) const fn size(serial: u64) -> Option<u64> {
    match serial {
        0 | 8 | 9 => Some(0),
        1..=4 => Some(serial),
        5 => Some(6),
        6 | 7 => Some(8),
        10 | 11 => None,
        _ => Some((serial - 12) / 2),
    }
}

/// The serial types of a record of `length` bytes that begins with `start`, and the bytes of its header.
///
/// `None` where they do not make up the record exactly: what SQLite writes always does, so that hardly any damage of a
/// header passes for another record.
pub fn field_types(start: &[u8], length: u64) -> Option<(Vec<u64>, usize)> {
    let (header, mut at) = varint(start)?;
    let header = usize::try_from(header).ok()?;
    let bytes = start.get(..header)?;
    let (mut types, mut total) = (Vec::new(), header as u64);
    while at < header {
        let (serial, size_of_type) = varint(bytes.get(at..)?)?;
        at += size_of_type;
        total = total.checked_add(size(serial)?)?;
        if types.len() == MOST_FIELDS {
            return None;
        }
        types.push(serial);
    }
    (at == header && total == length).then_some((types, header))
}

/// The values of a record of `length` bytes of which these were found. A value that they do not have whole, or that is
/// none in this encoding, is `None`; so is the whole where the header is not there.
pub fn fields(found: &[u8], length: u64, encoding: Encoding) -> Option<Vec<Option<Value>>> {
    let (types, mut at) = field_types(found, length)?;
    let mut values = Vec::with_capacity(types.len());
    for serial in types {
        let size = usize::try_from(size(serial)?).ok()?;
        let end = at.checked_add(size)?;
        values.push(found.get(at..end).and_then(|bytes| value(serial, bytes, encoding)));
        at = end;
    }
    Some(values)
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
        _ if serial % 2 == 0 => Value::Blob(bytes.to_vec()),
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
    let units = pairs.iter().map(|pair| unit(*pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    rest.is_empty().then_some(text.ok()?.into_bytes())
}
