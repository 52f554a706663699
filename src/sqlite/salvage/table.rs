//! How the rows of a table are stored, asked of the new database in which it was just created, and
//! whether what was found on a page can be such rows.

use rusqlite::Connection;

use crate::error::Result;
use crate::sql::quoting::quoted;

/// Which values a column takes as they are
/// (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    /// Never a number.
    Text,
    /// Whatever comes.
    None,
    /// A number where it looks like one.
    Number,
}

/// A column, in the order of the record.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    affinity: Affinity,
    not_null: bool,
    /// INTEGER PRIMARY KEY: its value is the rowid, and the record has NULL.
    is_rowid: bool,
    /// Computed anew.
    is_generated: bool,
}

/// A table.
#[derive(Debug)]
pub(super) struct TableTree {
    pub(super) name: String,
    pub(super) root: u32,
    pub(super) without_rowid: bool,
    /// It cannot be kept: its rows go beside the tables.
    pub(super) is_left_out: bool,
    columns: Vec<Column>,
    /// How many of them, from the first on, are the key of a table WITHOUT ROWID.
    keys: usize,
    /// The name by which the rowid is set.
    rowid: Option<String>,
}

/// Whether a record can be a row. Ordered: what comes later fits worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It has all columns, each with a value that the column can have.
    Exact,
    /// The same, without the last columns: ALTER TABLE ADD COLUMN leaves rows as they are.
    Short,
    /// A column has a value that SQLite would have converted or refused.
    Odd,
    /// No row of this table.
    Not,
}

impl TableTree {
    /// One that cannot be made here at all: any record may be a row of it.
    pub(super) fn unknown(name: &str, root: u32, without_rowid: bool) -> Self {
        let (columns, name) = (Vec::new(), name.to_owned());
        Self { name, root, without_rowid, is_left_out: true, columns, keys: 0, rowid: None }
    }

    /// Whether nothing is known of its columns.
    pub(super) const fn is_unknown(&self) -> bool {
        self.columns.is_empty()
    }

    /// The place of a column in the record.
    pub(super) fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|known| known.name.eq_ignore_ascii_case(column))
    }

    /// Whether a column is the rowid, and the record has nothing in its place.
    pub(super) fn is_rowid(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.is_rowid && known.name.eq_ignore_ascii_case(column))
    }

    /// The name of the column at a place of the record.
    pub(super) fn name_at(&self, place: usize) -> &str {
        self.columns.get(place).map_or("", |column| &column.name)
    }

    /// The columns by which one row is found: their places in the record, `None` for the rowid, and
    /// how they are called in SQL. Empty where rows cannot be given their rowids.
    pub(super) fn key(&self) -> Vec<(Option<usize>, String)> {
        if self.without_rowid {
            return (0..self.keys).map(|at| (Some(at), quoted(self.name_at(at)))).collect();
        }
        self.rowid.iter().map(|name| (None, quoted(name))).collect()
    }

    /// Asks for it.
    pub(super) fn describe(target: &Connection, name: &str, root: u32) -> Result<Self> {
        let (without_rowid, strict): (bool, bool) = target.query_row(
            "SELECT wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let own_index = "SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'";
        let own_index: Option<String> =
            target.prepare(own_index)?.query_map([name], |row| row.get(0))?.next().transpose()?;
        let mut statement = target
            .prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid")?;
        let mut keys = 0_usize;
        let mut all = statement
            .query_map([name], |row| {
                let (declared, key, hidden): (String, i64, i64) = (row.get(1)?, row.get(3)?, row.get(4)?);
                keys += usize::from(key > 0);
                let column = Column {
                    name: row.get(0)?,
                    affinity: affinity(&declared, strict),
                    not_null: row.get(2)?,
                    is_rowid: key == 1
                        && !without_rowid
                        && own_index.is_none()
                        && declared.eq_ignore_ascii_case("INTEGER"),
                    is_generated: hidden == 2 || hidden == 3,
                };
                // A virtual generated column is not stored.
                Ok((hidden != 2).then_some(column))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let rowid = all
            .iter()
            .flatten()
            .find(|column| column.is_rowid)
            .map(|column| column.name.clone())
            .or_else(|| rowid_name(&all));
        if let (true, Some(index)) = (without_rowid, own_index) {
            let mut order = target.prepare("SELECT cid FROM pragma_index_xinfo(?1) ORDER BY seqno")?;
            let order = order
                .query_map([index], |row| row.get::<_, usize>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            all = order.into_iter().filter_map(|at| all.get_mut(at).map(Option::take)).collect();
        }
        let columns = all.into_iter().flatten().collect();
        Ok(Self { name: name.to_owned(), root, without_rowid, is_left_out: false, columns, keys, rowid })
    }

    /// Judges a record by its serial types.
    pub(super) fn fit(&self, types: &[u64]) -> Fit {
        if types.len() > self.columns.len() || types.is_empty() {
            return Fit::Not;
        }
        let mut worst = if types.len() == self.columns.len() { Fit::Exact } else { Fit::Short };
        for (column, serial) in self.columns.iter().zip(types) {
            let is_number = (1..=9).contains(serial);
            let is_odd = match (serial, column.affinity) {
                (0, _) => column.not_null && !column.is_rowid,
                (_, Affinity::Text) => is_number,
                // 0 and 1 in their short forms are written by every SQLite since 3.3.
                _ => false,
            };
            if column.is_rowid && *serial != 0 {
                return Fit::Not;
            }
            if is_odd {
                worst = Fit::Odd;
            }
        }
        worst
    }

    /// The same for a single row on a page of this table: what its record has in place of the rowid
    /// counts for nothing, if it takes no room.
    pub(super) fn fit_of_row(&self, types: &[u64]) -> Fit {
        let is_nothing = |(at, serial): (usize, &u64)| {
            let is_rowid = self.columns.get(at).is_some_and(|column| column.is_rowid);
            if is_rowid && matches!(serial, 8 | 9) { 0 } else { *serial }
        };
        self.fit(&types.iter().enumerate().map(is_nothing).collect::<Vec<_>>())
    }

    /// How many values of a record are of the very kind that their columns are declared for.
    pub(super) fn likeness(&self, types: &[u64]) -> usize {
        let likeness = |column: &Column, serial: u64| match column.affinity {
            // NULL in every single row is what hardly any other column has.
            _ if column.is_rowid => 2 * usize::from(serial == 0),
            Affinity::Text => usize::from(serial >= 13 && serial % 2 == 1),
            Affinity::Number => usize::from((1..=9).contains(&serial)),
            Affinity::None => 0,
        };
        self.columns.iter().zip(types).map(|(column, serial)| likeness(column, *serial)).sum()
    }

    /// Whether a text in the column at this place of a record looks like a number that SQLite would
    /// have stored as one.
    pub(super) fn would_be_number(&self, at: usize, text: &[u8]) -> bool {
        self.columns.get(at).is_some_and(|column| column.affinity == Affinity::Number)
            && (1..=15).contains(&text.len())
            && text.iter().all(u8::is_ascii_digit)
    }

    /// The statement that inserts a record of `fields` values, the rowid first where there is one;
    /// and which of the values it takes.
    pub(super) fn insert(&self, fields: usize) -> (String, Vec<usize>) {
        let taken: Vec<usize> = (0..fields.min(self.columns.len()))
            .filter(|at| self.columns.get(*at).is_some_and(|column| !column.is_rowid && !column.is_generated))
            .collect();
        let names: Vec<String> = self
            .rowid
            .iter()
            .filter(|_| !self.without_rowid)
            .chain(taken.iter().filter_map(|at| self.columns.get(*at)).map(|column| &column.name))
            .map(|name| quoted(name))
            .collect();
        let places: Vec<String> = (1..=names.len()).map(|at| format!("?{at}")).collect();
        let table = quoted(&self.name);
        let sql = if names.is_empty() {
            format!("INSERT OR IGNORE INTO main.{table} DEFAULT VALUES")
        } else {
            format!(
                "INSERT OR IGNORE INTO main.{table} ({}) VALUES ({})",
                names.join(", "),
                places.join(", ")
            )
        };
        (sql, taken)
    }

    /// Whether rows can be given their rowids: not where columns have all its names.
    pub(super) const fn sets_rowid(&self) -> bool {
        self.rowid.is_some() && !self.without_rowid
    }
}

fn rowid_name(columns: &[Option<Column>]) -> Option<String> {
    let is_taken = |name: &str| columns.iter().flatten().any(|column| column.name.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !is_taken(name)).map(str::to_owned)
}

fn affinity(declared: &str, strict: bool) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        Affinity::Number
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if has("BLOB") || declared.is_empty() || (strict && declared == "ANY") {
        Affinity::None
    } else {
        Affinity::Number
    }
}
