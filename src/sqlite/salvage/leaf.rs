//! What is on one page, judged before any of it is taken: which cells can be read, whether their
//! rowids are in order, and of which table they can be rows.

use super::table::{Fit, TableTree};
use crate::sqlite::pages::{Cell, Database, Fields, Page, Value, payload};

/// A cell whose record has a header that adds up.
#[derive(Debug)]
pub(super) struct Peek {
    /// Its place among those of the page.
    index: usize,
    pub(super) cell: Cell,
    pub(super) fields: Fields,
    /// Its rowid is where its neighbours say that it cannot be, or it lies over another cell.
    pub(super) is_stray: bool,
}

impl Peek {
    fn rowid(&self) -> i64 {
        self.cell.rowid.unwrap_or_default()
    }
}

/// The cells of a page.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) readable: Vec<Peek>,
    /// Cells that are no records.
    pub(super) lost: u64,
}

/// What was read of a row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) rowid: Option<i64>,
    /// `None` where a value could not be read.
    pub(super) values: Vec<Option<Value>>,
    /// Everything of it is there, and nothing speaks against it.
    pub(super) is_sure: bool,
    /// Texts that are none in the encoding of the file.
    pub(super) invalid_texts: u64,
}

/// Looks at all cells of a page.
pub(super) fn cells(database: &Database<'_>, page: &Page) -> Cells {
    let mut found = Cells { readable: Vec::new(), lost: 0 };
    let mut odd = Vec::new();
    for at in 0..page.len() {
        let read = |cell: Option<Cell>| {
            let cell = cell?;
            Some(Peek { index: at, fields: header(database, page, &cell)?, cell, is_stray: false })
        };
        match read(page.cell(at)) {
            Some(peek) if peek.fields.length == peek.cell.length => found.readable.push(peek),
            other => match read(page.cell_by_record(at)).map(|own| (own, other)) {
                Some((own, other)) => odd.push((own, other)),
                // A record that goes on elsewhere has no second opinion.
                None => match read(page.cell(at)) {
                    Some(peek) => found.readable.push(Peek { is_stray: true, ..peek }),
                    None => found.lost += 1,
                },
            },
        }
    }
    // The length that the cell says and the one of its record differ: the right one ends where the
    // next cell begins, or the page ends.
    let mut starts: Vec<usize> = odd.iter().map(|(own, _)| own.cell.place.start).collect();
    starts.extend(found.readable.iter().map(|peek| peek.cell.place.start));
    let adjoins = |peek: &Peek| peek.cell.place.end == page.end() || starts.contains(&peek.cell.place.end);
    let settled = odd.into_iter().map(|(own, other)| match other {
        _ if adjoins(&own) => own,
        Some(other) => Peek { is_stray: true, ..other },
        None => Peek { is_stray: true, ..own },
    });
    found.readable.extend(settled.collect::<Vec<_>>());
    found.readable.sort_by_key(|peek| peek.index);
    if page.kind.is_table() {
        mark_disordered(&mut found.readable);
    }
    mark_overlapping(&mut found.readable);
    found
}

fn header(database: &Database<'_>, page: &Page, cell: &Cell) -> Option<Fields> {
    let fields = Fields::read(page.local_part(cell));
    // Tables with hundreds of columns have headers that go on elsewhere.
    fields.or_else(|| cell.overflow.and_then(|_| Fields::read(&payload(database, page, cell).bytes)))
}

/// Rowids rise along a page. Those outside the longest run that does are strays; where several are
/// as long, the one that ends lowest counts, as flipped bits mostly make numbers larger.
fn mark_disordered(peeks: &mut [Peek]) {
    // ends[n]: where the rising run of n + 1 cells that ends lowest ends.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(peeks.len());
    let rowid = |at: &usize| peeks.get(*at).map(Peek::rowid);
    for at in 0..peeks.len() {
        if peeks.get(at).is_some_and(|peek| peek.is_stray) {
            before.push(None);
            continue;
        }
        let length = ends.partition_point(|end| rowid(end) < rowid(&at));
        before.push(length.checked_sub(1).and_then(|last| ends.get(last).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut in_order = vec![false; peeks.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        if let Some(mark) = in_order.get_mut(at) {
            *mark = true;
        }
        next = before.get(at).copied().flatten();
    }
    for (peek, in_order) in peeks.iter_mut().zip(in_order) {
        peek.is_stray = !in_order;
    }
}

/// Cells share no byte; which of two that do is real cannot be told, unless one is a stray already.
fn mark_overlapping(peeks: &mut [Peek]) {
    let mut order: Vec<usize> =
        (0..peeks.len()).filter(|at| peeks.get(*at).is_some_and(|p| !p.is_stray)).collect();
    order.sort_by_key(|at| peeks.get(*at).map(|peek| peek.cell.place.start));
    let mut widest: Option<usize> = None;
    for at in order {
        let end = |at: Option<usize>| at.and_then(|at| peeks.get(at)).map_or(0, |peek| peek.cell.place.end);
        let overlaps = peeks.get(at).is_some_and(|peek| peek.cell.place.start < end(widest));
        let further = end(Some(at)) > end(widest);
        if overlaps {
            for at in [Some(at), widest].into_iter().flatten() {
                if let Some(peek) = peeks.get_mut(at) {
                    peek.is_stray = true;
                }
            }
        }
        if further {
            widest = Some(at);
        }
    }
}

impl Cells {
    /// The lowest and the highest rowid, strays left out.
    pub(super) fn range(&self) -> Option<(i64, i64)> {
        let mut rowids = self.readable.iter().filter(|peek| !peek.is_stray).map(Peek::rowid);
        let first = rowids.next()?;
        Some(rowids.fold((first, first), |(low, high), rowid| (low.min(rowid), high.max(rowid))))
    }

    /// Whether the page is as a whole of a table: how its rows fit, leaving out a quarter of them,
    /// which damage may have changed.
    pub(super) fn fit(&self, table: &TableTree) -> Fit {
        let mut fits: Vec<Fit> = self
            .readable
            .iter()
            .filter(|peek| !peek.is_stray)
            .map(|peek| table.fit(&peek.fields.types))
            .collect();
        fits.sort_unstable();
        let Some(last) = fits.len().checked_sub(1) else { return Fit::Not };
        let bad = fits.iter().filter(|fit| **fit >= Fit::Odd).count();
        let judged = if bad * 4 <= fits.len() { last - bad } else { last };
        fits.get(judged).copied().unwrap_or(Fit::Not)
    }

    /// How many values are of the very kind that their columns are declared for, of rows that fit.
    pub(super) fn likeness(&self, table: &TableTree) -> usize {
        self.readable
            .iter()
            .filter(|peek| !peek.is_stray)
            .map(|peek| table.likeness(&peek.fields.types))
            .sum()
    }

    /// Whether the rowids are those above `low` and up to `high`, as the pages above say. One at
    /// either end that is not becomes a stray.
    pub(super) fn keep_within(&mut self, low: Option<i64>, high: Option<i64>) -> bool {
        let is_in = |rowid: i64| low.is_none_or(|low| rowid > low) && high.is_none_or(|high| rowid <= high);
        let in_order = self.readable.iter().filter(|peek| !peek.is_stray).count();
        let mut outside: Vec<&mut Peek> =
            self.readable.iter_mut().filter(|peek| !peek.is_stray && !is_in(peek.rowid())).collect();
        match outside.as_mut_slice() {
            [] => true,
            [one] if in_order > 1 => {
                one.is_stray = true;
                true
            }
            _ => false,
        }
    }
}

/// Reads a row, of this table and fitting no worse than that, or of none that is known.
pub(super) fn row(database: &Database<'_>, page: &Page, peek: &Peek, of: Option<(&TableTree, Fit)>) -> Row {
    let record = payload(database, page, &peek.cell);
    let encoding = database.layout.encoding;
    let values = peek.fields.values(&record.bytes, encoding);
    let would_be_number = |(at, value): (usize, &Option<Value>)| match (value, of) {
        (Some(Value::Text(text)), Some((table, worst))) => {
            worst < Fit::Odd && table.would_be_number(at, text)
        }
        _ => false,
    };
    let is_sure = record.is_whole
        && !record.is_doubtful
        && !peek.is_stray
        && !values.is_empty()
        && values.iter().all(Option::is_some)
        && !values.iter().enumerate().any(would_be_number)
        && of.is_none_or(|(table, worst)| table.fit_of_row(&peek.fields.types) <= worst.max(Fit::Short));
    let is_invalid = |(serial, value): (&u64, &Option<Value>)| match value {
        Some(Value::Text(text)) => std::str::from_utf8(text).is_err(),
        Some(_) => false,
        None => record.is_whole && *serial >= 13 && !serial.is_multiple_of(2),
    };
    let invalid_texts = peek.fields.types.iter().zip(&values).filter(|one| is_invalid(*one)).count() as u64;
    Row { rowid: peek.cell.rowid, values, is_sure, invalid_texts }
}
