//! What an index keeps of a row: which columns, in which order. Asked of the new database, where it
//! is made for a moment while its table is empty.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use rusqlite::Connection;

use super::finish;
use super::leaf::Row;
use super::schema::Entry;
use super::table::TableTree;
use crate::error::Result;
use crate::sql::quoting::quoted;
use crate::sqlite::pages::{Database, Fields, Page, Value, payload};

/// Where a part of an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Rowid,
    /// A place of the record.
    Field(usize),
    /// A column that the record does not have: it is computed.
    Computed(String),
    Expression,
}

/// The orders that SQLite itself has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    Binary,
    NoCase,
    RightTrim,
    /// The application's own.
    Other,
}

/// One value of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) source: Source,
    pub(super) collation: Collation,
    pub(super) descending: bool,
}

/// An index.
#[derive(Debug)]
pub(super) struct IndexTree {
    pub(super) name: String,
    /// The number of its table.
    pub(super) of: usize,
    pub(super) root: u32,
    /// It has entries of some rows only.
    pub(super) is_partial: bool,
    /// Empty where it cannot be made here.
    pub(super) parts: Vec<Part>,
    /// How many of the parts are its own columns; those behind them say which row it is.
    pub(super) own: usize,
    /// Pages of its tree, and whether all of them can be read.
    pub(super) pages: Vec<u32>,
    pub(super) is_whole: bool,
    /// Its entries as they were found.
    pub(super) found: Sum,
    /// The entries that the saved rows give; `None` where their records do not tell.
    pub(super) given: Option<Sum>,
}

/// Entries in any order: how many, and a number that all of them make.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    hash: u64,
}

impl Sum {
    /// Adds one; `None` is one that cannot be read, which no other is equal to.
    pub(super) fn add<'v>(&mut self, entry: Option<impl Iterator<Item = &'v Value>>) {
        self.count += 1;
        let mut hasher = DefaultHasher::new();
        match entry {
            Some(values) => values.for_each(|value| hash(value, &mut hasher)),
            None => "unreadable".hash(&mut hasher),
        }
        self.hash = self.hash.wrapping_add(hasher.finish());
    }
}

/// A number is the same one whether it is stored as integer or as real: a column of reals keeps
/// whole ones as integers.
fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Integer(number) => (1_u8, number).hash(hasher),
        Value::Real(number) => match whole(*number) {
            Some(number) => (1_u8, number).hash(hasher),
            None => (2_u8, number.to_bits()).hash(hasher),
        },
        Value::Text(text) => (3_u8, text).hash(hasher),
        Value::Blob(blob) => (4_u8, blob).hash(hasher),
    }
}

/// The integer that a real is, if it is one.
#[expect(clippy::cast_possible_truncation, reason = "the range is looked at before")]
pub(super) fn whole(number: f64) -> Option<i64> {
    /// The first real that is too large.
    const END: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && (-END..END).contains(&number)).then_some(number as i64)
}

/// Whether two values are the same, numbers by what they are worth.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Integer(number) => Some(*number),
        Value::Real(number) => whole(*number),
        _ => None,
    };
    one == other || number(one).is_some_and(|one| Some(one) == number(other))
}

impl IndexTree {
    /// Asks for it, while its table is empty and names that only the application has are stood in
    /// for. One that cannot be made has no parts.
    pub(super) fn describe(target: &Connection, entry: &Entry, tables: &[TableTree]) -> Option<Self> {
        let of = tables.iter().position(|table| table.name.eq_ignore_ascii_case(&entry.table))?;
        let has_where = entry.sql.as_deref().is_some_and(|sql| sql.to_ascii_uppercase().contains("WHERE"));
        let mut this = Self {
            name: entry.name.clone(),
            of,
            root: entry.root,
            is_partial: has_where,
            parts: Vec::new(),
            own: 0,
            pages: Vec::new(),
            is_whole: false,
            found: Sum::default(),
            given: None,
        };
        let Some(table) = tables.get(of).filter(|table| !table.is_unknown()) else { return Some(this) };
        let is_made = entry.sql.is_none() || finish::create(target, entry).is_ok();
        if is_made && this.ask(target, table).is_err() {
            this.parts.clear();
        }
        let is_told = !this.parts.is_empty() && !this.is_partial && this.is_of_record();
        this.given = is_told.then(Sum::default);
        Some(this)
    }

    fn ask(&mut self, target: &Connection, table: &TableTree) -> Result<()> {
        let partial = "SELECT partial FROM pragma_index_list(?1) WHERE name = ?2 COLLATE NOCASE";
        self.is_partial = target.query_row(partial, [&table.name, &self.name], |row| row.get(0))?;
        let mut parts = target
            .prepare("SELECT cid, name, coll, \"desc\", key FROM pragma_index_xinfo(?1) ORDER BY seqno")?;
        let mut parts = parts.query([&self.name])?;
        while let Some(part) = parts.next()? {
            let (column, name): (i64, Option<String>) = (part.get(0)?, part.get(1)?);
            let source = match name {
                Some(name) if table.is_rowid(&name) => Source::Rowid,
                Some(name) => table.place(&name).map_or(Source::Computed(name), Source::Field),
                None if column == -1 => Source::Rowid,
                None => Source::Expression,
            };
            let collation: Option<String> = part.get(2)?;
            let collation = match collation.unwrap_or_default().to_ascii_uppercase().as_str() {
                "BINARY" => Collation::Binary,
                "NOCASE" => Collation::NoCase,
                "RTRIM" => Collation::RightTrim,
                _ => Collation::Other,
            };
            self.own += usize::from(part.get::<_, bool>(4)?);
            self.parts.push(Part { source, collation, descending: part.get(3)? });
        }
        Ok(())
    }

    /// Drops those that were made. By the names that they got: in a damaged statement it need not
    /// be the entry's.
    pub(super) fn drop_all(target: &Connection) -> Result<()> {
        let mut made =
            target.prepare("SELECT name FROM main.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")?;
        let made = made.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        for name in made {
            target.execute_batch(&format!("DROP INDEX main.{}", quoted(&name)))?;
        }
        Ok(())
    }

    /// Those of one table, out of all in the order of their tables.
    pub(super) fn of_table(all: &[Self], table: usize) -> &[Self] {
        all.get(Self::range(all, table)).unwrap_or_default()
    }

    /// The same, to be changed.
    pub(super) fn of_table_mut(all: &mut [Self], table: usize) -> &mut [Self] {
        let range = Self::range(all, table);
        all.get_mut(range).unwrap_or_default()
    }

    fn range(all: &[Self], table: usize) -> Range<usize> {
        all.partition_point(|index| index.of < table)..all.partition_point(|index| index.of <= table)
    }

    /// Whether a record has all that an entry has.
    pub(super) fn is_of_record(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.source, Source::Rowid | Source::Field(_)))
    }

    /// The entry that a row gives; `None` where the row does not tell.
    pub(super) fn entry(&self, row: &Row) -> Option<Vec<Value>> {
        let part = |part: &Part| match part.source {
            Source::Rowid => row.rowid.map(Value::Integer),
            Source::Field(at) => row.values.get(at)?.clone(),
            _ => None,
        };
        self.parts.iter().map(part).collect()
    }

    /// Adds the entry that a saved row gives.
    pub(super) fn add(&mut self, row: &Row) {
        let Some(mut sum) = self.given.take() else { return };
        // One from before its column was added has the default, which is the table's to know.
        if let Some(entry) = self.entry(row) {
            sum.add(Some(entry.iter()));
            self.given = Some(sum);
        }
    }

    /// Reads an entry; `None` where it is not all there, or is none of this index.
    pub(super) fn read(&self, database: &Database<'_>, page: &Page, at: usize) -> Option<Vec<Value>> {
        let cell = page.cell(at)?;
        let record = payload(database, page, &cell);
        let fields = Fields::read(&record.bytes).filter(|fields| fields.length == cell.length)?;
        let values = fields.values(&record.bytes, database.layout.encoding);
        let is_one = record.is_whole && !record.is_doubtful && values.len() == self.parts.len();
        if is_one { values.into_iter().collect() } else { None }
    }
}
