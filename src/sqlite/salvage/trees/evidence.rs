//! Whether rows to which no tree leads are a table's, asked of its surviving indexes, which say
//! entry by entry which row has which values. Never takes a likeness for an entry: what an index
//! cannot tell, it does not tell.

use std::cmp::Ordering;

use super::Trees;
use crate::sqlite::pages::{Encoding, Page, Value};
use crate::sqlite::salvage::entry::{Collation, IndexTree, Part, whole};
use crate::sqlite::salvage::leaf::{self, Cells, Row};
use crate::sqlite::salvage::schema::DEEPEST;
use crate::sqlite::salvage::table::Fit;

/// Rows of a page that are asked for: a page is one table's as a whole.
const SAMPLE: usize = 8;

/// Indexes of a table that are asked.
const MOST_INDEXES: usize = 8;

/// What the indexes of a table say of the rows of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// They have them; `tells`: and would not have them if another row of the page had these
    /// values.
    Yes { tells: bool },
    /// They do not have them.
    No,
    /// There is no index, or none that can tell.
    Nothing,
}

/// The answers of one index.
#[derive(Debug, Default)]
struct Answers {
    asked: usize,
    found: usize,
    /// The values of one row and the rowid of the next, and how often even that is there.
    crossed: usize,
    crossed_found: usize,
}

impl Trees<'_, '_, '_> {
    /// Asks the indexes of a table for some rows of a page.
    pub(super) fn indexes_say(&self, number: usize, page: &Page, cells: &Cells) -> Says {
        let Some(table) = self.tables.get(number) else { return Says::Nothing };
        let sound: Vec<_> = cells.readable.iter().filter(|peek| !peek.is_stray).collect();
        let step = sound.len().div_ceil(SAMPLE).max(1);
        let rows: Vec<Row> = sound
            .into_iter()
            .step_by(step)
            .map(|peek| leaf::row(self.database, page, peek, Some((table, Fit::Short))))
            .filter(|row| row.is_sure)
            .collect();
        let can_tell =
            |index: &&IndexTree| !index.is_partial && !index.parts.is_empty() && index.is_of_record();
        let indexes = IndexTree::of_table(&self.indexes, number).iter().filter(can_tell).take(MOST_INDEXES);
        let (mut says, mut says_no) = (Says::Nothing, false);
        for answers in indexes.map(|index| self.ask(index, &rows)) {
            if answers.asked == 0 {
                continue;
            }
            if answers.found * 4 < answers.asked * 3 {
                says_no = true;
                continue;
            }
            let tells = answers.crossed > 0 && answers.crossed_found * 4 <= answers.crossed;
            if says != (Says::Yes { tells: true }) {
                says = Says::Yes { tells };
            }
        }
        // Values that many rows have are found by chance; they count for nothing where another
        // index says no.
        if says_no && says != (Says::Yes { tells: true }) { Says::No } else { says }
    }

    fn ask(&self, index: &IndexTree, rows: &[Row]) -> Answers {
        let mut answers = Answers::default();
        let entries: Vec<Vec<Value>> = rows.iter().filter_map(|row| index.entry(row)).collect();
        for (at, entry) in entries.iter().enumerate() {
            // Of an index with unreadable pages, only what it has counts.
            let Some(is_there) = self.has(index, entry).filter(|is_there| *is_there || index.is_whole) else {
                continue;
            };
            answers.asked += 1;
            answers.found += usize::from(is_there);
            let other = entries.get(if at + 1 < entries.len() { at + 1 } else { 0 });
            let Some(other) = other.filter(|_| entries.len() > 1) else { continue };
            let crossed: Vec<Value> =
                entry.iter().take(index.own).chain(other.iter().skip(index.own)).cloned().collect();
            if let Some(is_there) = self.has(index, &crossed) {
                answers.crossed += 1;
                answers.crossed_found += usize::from(is_there);
            }
        }
        answers
    }

    /// Whether an index has an entry, searched as SQLite does: from the root down. `None` where a
    /// page on the way cannot be read, or its order is the application's own.
    fn has(&self, index: &IndexTree, wanted: &[Value]) -> Option<bool> {
        let encoding = self.database.layout.encoding;
        let mut number = index.root;
        for _ in 0..DEEPEST {
            let page = self.database.tree_page(number).filter(|page| !page.kind.is_table())?;
            let (mut low, mut high) = (0, page.len());
            while low < high {
                let middle = usize::midpoint(low, high);
                let entry = index.read(self.database, &page, middle)?;
                match order(&index.parts, &entry, wanted, encoding)? {
                    Ordering::Equal => return Some(true),
                    Ordering::Less => low = middle + 1,
                    Ordering::Greater => high = middle,
                }
            }
            if !page.kind.is_interior() {
                return Some(false);
            }
            number = if low < page.len() { page.cell(low)?.child? } else { page.right? };
        }
        None
    }
}

/// The order of two entries; `None` where only the application knows it.
fn order(parts: &[Part], one: &[Value], other: &[Value], encoding: Encoding) -> Option<Ordering> {
    for (part, (one, other)) in parts.iter().zip(one.iter().zip(other)) {
        let order = order_of_values(one, other, part.collation, encoding)?;
        if order != Ordering::Equal {
            return Some(if part.descending { order.reverse() } else { order });
        }
    }
    Some(Ordering::Equal)
}

/// NULL, numbers, texts, blobs (<https://www.sqlite.org/datatype3.html#sort_order>).
fn order_of_values(one: &Value, other: &Value, collation: Collation, encoding: Encoding) -> Option<Ordering> {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    Some(match (one, other) {
        (Value::Text(one), Value::Text(other)) => order_of_texts(one, other, collation, encoding)?,
        (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
        _ => class(one).cmp(&class(other)).then_with(|| order_of_numbers(one, other)),
    })
}

fn order_of_numbers(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Real(one), Value::Real(other)) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
        (Value::Integer(one), Value::Real(other)) => order_of_mixed(*one, *other),
        (Value::Real(one), Value::Integer(other)) => order_of_mixed(*other, *one).reverse(),
        _ => Ordering::Equal,
    }
}

fn order_of_mixed(integer: i64, real: f64) -> Ordering {
    match whole(real.floor()) {
        Some(floor) if real.fract() == 0.0 => integer.cmp(&floor),
        Some(floor) if integer <= floor => Ordering::Less,
        None if real > 0.0 => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// Byte by byte as the file has them, or as UTF-8 by the orders that are made for it.
fn order_of_texts(one: &[u8], other: &[u8], collation: Collation, encoding: Encoding) -> Option<Ordering> {
    let units = |text: &[u8]| -> Vec<u8> {
        let text = String::from_utf8_lossy(text);
        let bytes = |unit: u16| match encoding {
            Encoding::Utf16Be => unit.to_be_bytes(),
            _ => unit.to_le_bytes(),
        };
        text.encode_utf16().flat_map(bytes).collect()
    };
    let without_spaces =
        |text: &[u8]| text.len() - text.iter().rev().take_while(|byte| **byte == b' ').count();
    Some(match (collation, encoding) {
        (Collation::Binary, Encoding::Utf8) => one.cmp(other),
        (Collation::Binary, _) => units(one).cmp(&units(other)),
        (Collation::NoCase, _) => one.to_ascii_lowercase().cmp(&other.to_ascii_lowercase()),
        (Collation::RightTrim, _) => one.get(..without_spaces(one)).cmp(&other.get(..without_spaces(other))),
        (Collation::Other, _) => return None,
    })
}
