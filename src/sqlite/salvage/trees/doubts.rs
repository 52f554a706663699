//! What the surviving indexes say of rows when all of these are in their tables. Columns of a row
//! that is lost are kept, and where a row and its entry disagree, both. Must never change a row:
//! which of the two is right is not known.

use super::Trees;
use crate::error::Result;
use crate::sql::quoting::quoted;
use crate::sqlite::pages::{Page, Value};
use crate::sqlite::salvage::entry::{IndexTree, Source, same};
use crate::sqlite::salvage::steps::stopped;
use crate::sqlite::salvage::table::TableTree;
use crate::sqlite::salvage::write::{IndexValues, What};

/// An index that disagrees with more than half of its rows, and with more than so many, is not of
/// these rows: it was spoiled as a whole.
const SPOILED: u64 = 10;

/// How the rows of an index are looked up.
struct LookUp {
    sql: String,
    /// The parts of the entry that are the key.
    key: Vec<usize>,
    /// The parts of the entry that are compared, in the order of the columns of `sql`.
    compared: Vec<usize>,
    /// The parts that are kept, and how they are called.
    kept: Vec<usize>,
    names: String,
}

/// How often an entry had its row, and another one.
#[derive(Default)]
struct Count {
    found: u64,
    differing: u64,
}

impl Trees<'_, '_, '_> {
    /// Compares every index that does not have exactly the entries that the saved rows give.
    pub(in crate::sqlite::salvage) fn compare(&mut self) -> Result<()> {
        for number in 0..self.indexes.len() {
            let Some(index) = self.indexes.get(number) else { continue };
            let agrees = index.is_whole && index.given == Some(index.found);
            let Some(table) = self.tables.get(index.of).filter(|table| !table.is_left_out && !agrees) else {
                continue;
            };
            let Some(look_up) = LookUp::new(index, table) else { continue };
            let mut count = Count::default();
            for at in 0..index.pages.len() {
                let page = self.indexes.get(number).and_then(|index| index.pages.get(at));
                let Some(page) = page.and_then(|page| self.database.tree_page(*page)) else { continue };
                if !self.compare_page(number, &page, &look_up, &mut count)? {
                    break;
                }
            }
            let Some(index) = self.indexes.get(number) else { continue };
            if is_spoiled(count.differing, count.found) {
                self.writer.forget_differences(&index.name)?;
                self.stale.push(index.name.clone());
            }
        }
        for (name, missing, differing) in self.writer.known_rows()? {
            if let Some(told) = self.told.iter_mut().find(|told| told.name == name) {
                (told.only_in_index, told.in_doubt) = (missing, differing);
            }
        }
        Ok(())
    }

    /// Compares the entries of a page; `false` where the table cannot be asked.
    fn compare_page(
        &mut self,
        number: usize,
        page: &Page,
        look_up: &LookUp,
        count: &mut Count,
    ) -> Result<bool> {
        let Some(index) = self.indexes.get(number) else { return Ok(false) };
        let Some(table) = self.tables.get(index.of) else { return Ok(false) };
        for at in 0..page.len() {
            self.steps.go_on()?;
            let Some(entry) = index.read(self.database, page, at) else { continue };
            let part = |at: &usize| entry.get(*at).cloned();
            let key: Vec<Option<Value>> = look_up.key.iter().map(part).collect();
            let row = match self.writer.look_up(&look_up.sql, &key) {
                Ok(row) => row,
                // A column may need what only the application has.
                Err(error) => return stopped(error).map(|_| false),
            };
            let rowid = match key.as_slice() {
                [Some(Value::Integer(rowid))] if !table.without_rowid => Some(*rowid),
                _ => None,
            };
            let mut keep = |what, values: &[Option<Value>]| {
                self.writer.keep_known(&IndexValues {
                    table: &table.name,
                    index: &index.name,
                    what,
                    page: page.number,
                    rowid,
                    columns: &look_up.names,
                    values,
                })
            };
            let of_index: Vec<Option<Value>> = look_up.kept.iter().map(part).collect();
            let Some(row) = row else {
                keep(What::Missing, &of_index)?;
                continue;
            };
            count.found += 1;
            let differs =
                |(at, of_row): (&usize, &Value)| entry.get(*at).is_some_and(|own| !same(own, of_row));
            if look_up.compared.iter().zip(&row).any(differs) {
                count.differing += 1;
                let of_row = |at: &usize| {
                    let column = look_up.compared.iter().position(|compared| compared == at);
                    column.and_then(|column| row.get(column)).cloned().or_else(|| part(at))
                };
                keep(What::Index, &of_index)?;
                keep(What::Row, &look_up.kept.iter().map(of_row).collect::<Vec<_>>())?;
            }
        }
        Ok(true)
    }
}

/// Whether an index has other values than so many rows, of all that it has, that it says nothing of
/// single ones.
pub const fn is_spoiled(differing: u64, all: u64) -> bool {
    differing > SPOILED && differing * 2 > all
}

impl LookUp {
    /// `None` where the entry does not say which row it is of, or the table cannot be asked for it.
    fn new(index: &IndexTree, table: &TableTree) -> Option<Self> {
        let of_place = |place: Option<usize>| {
            let source = place.map_or(Source::Rowid, Source::Field);
            // The last one: the columns of the index itself come before what says which row it is.
            index.parts.iter().rposition(|part| part.source == source)
        };
        let columns = table.key();
        let key: Vec<usize> = columns.iter().filter_map(|(place, _)| of_place(*place)).collect();
        if columns.is_empty() || key.len() != columns.len() {
            return None;
        }
        let name = |source: &Source| match source {
            Source::Field(place) => Some(table.name_at(*place).to_owned()),
            Source::Computed(name) => Some(name.clone()),
            Source::Rowid | Source::Expression => None,
        };
        let (mut compared, mut asked, mut kept, mut names) = (vec![], vec![], vec![], vec![]);
        for (at, part) in index.parts.iter().enumerate() {
            if part.source == Source::Rowid {
                continue;
            }
            kept.push(at);
            names.push(name(&part.source).unwrap_or_else(|| String::from("(expression)")));
            if let Some(name) = name(&part.source).filter(|_| !key.contains(&at)) {
                compared.push(at);
                asked.push(quoted(&name));
            }
        }
        asked.push(String::from("1"));
        let wanted: Vec<String> =
            columns.iter().enumerate().map(|(at, (_, name))| format!("{name} = ?{}", at + 1)).collect();
        let sql = format!(
            "SELECT {} FROM main.{} WHERE {}",
            asked.join(", "),
            quoted(&table.name),
            wanted.join(" AND ")
        );
        Some(Self { sql, key, compared, kept, names: names.join(", ") })
    }
}
