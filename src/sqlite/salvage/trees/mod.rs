//! Follows the trees of the tables and takes the rows of every page that is where it belongs. A
//! page that is not, and one that cannot be read, leave a gap; what may fill it is judged when all
//! trees have been followed.

pub(super) mod doubts;
mod evidence;
mod indexes;
pub(super) mod orphans;

use std::collections::HashSet;

use super::claims::Claims;
use super::entry::IndexTree;
use super::leaf::{self, Cells};
use super::report::Table as Told;
use super::schema::DEEPEST;
use super::steps::Steps;
use super::table::{Fit, TableTree};
use super::write::{Place, Writer};
use crate::error::Result;
use crate::sqlite::pages::{Database, Page, PageKind};

/// Rowids that are missing: those between the rows before and after, themselves not among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    after: Option<i64>,
    before: Option<i64>,
}

impl Gap {
    pub(super) fn holds(&self, (low, high): (i64, i64)) -> bool {
        self.after.is_none_or(|after| low > after) && self.before.is_none_or(|before| high < before)
    }
}

/// A page to which the tree of a table leads, and that does not look like its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disputed {
    pub(super) page: u32,
    pub(super) table: usize,
}

/// The work.
pub(super) struct Trees<'a, 'b, 'c> {
    pub(super) database: &'a Database<'b>,
    pub(super) tables: Vec<TableTree>,
    pub(super) indexes: Vec<IndexTree>,
    pub(super) claims: Claims,
    pub(super) writer: Writer<'c>,
    pub(super) gaps: Vec<Vec<Gap>>,
    pub(super) disputed: Vec<Disputed>,
    pub(super) told: Vec<Told>,
    /// Texts that are none in the encoding of the file, of rows whose table is not known.
    pub(super) invalid_texts: u64,
    /// Indexes that disagree with so many rows that they say nothing of single ones.
    pub(super) stale: Vec<String>,
    /// Hashes of pages that the file has more than once; known when it is first asked for.
    pub(super) twins: Option<HashSet<u64>>,
    pub(super) steps: Steps<'a>,
}

/// A page to look at: rowids above `low` and up to `high`.
#[derive(Clone, Copy)]
struct Visit {
    page: u32,
    low: Option<i64>,
    high: Option<i64>,
    depth: usize,
}

enum Found {
    Below(Vec<Visit>),
    Rows(Option<(i64, i64)>),
    Hole,
}

impl Trees<'_, '_, '_> {
    /// Follows the tree of a table.
    pub(super) fn follow(&mut self, number: usize) -> Result<()> {
        let Some(root) = self.tables.get(number).map(|table| table.root) else { return Ok(()) };
        let mut stack = vec![Visit { page: root, low: None, high: None, depth: 0 }];
        let (mut last, mut is_open, mut gaps) = (None, false, Vec::new());
        while let Some(visit) = stack.pop() {
            self.steps.one()?;
            match self.look(number, visit)? {
                Found::Below(visits) => stack.extend(visits.into_iter().rev()),
                Found::Hole => {
                    is_open = true;
                    if let Some(told) = self.told.get_mut(number) {
                        told.pages_lost += 1;
                    }
                }
                Found::Rows(Some((low, high))) => {
                    if std::mem::take(&mut is_open) {
                        gaps.push(Gap { after: last, before: Some(low) });
                    }
                    last = last.max(Some(high));
                }
                Found::Rows(None) => {}
            }
        }
        if is_open {
            gaps.push(Gap { after: last, before: None });
        }
        if let Some(of_table) = self.gaps.get_mut(number) {
            *of_table = gaps;
        }
        Ok(())
    }

    fn look(&mut self, number: usize, visit: Visit) -> Result<Found> {
        let tree = tree(number);
        let Some(without_rowid) = self.tables.get(number).map(|table| table.without_rowid) else {
            return Ok(Found::Hole);
        };
        if !self.claims.enter(visit.page, tree) || self.database.is_reserved(visit.page) {
            return Ok(Found::Hole);
        }
        let Some(page) = self.page(number, visit, without_rowid) else { return Ok(Found::Hole) };
        if page.kind.is_table() == without_rowid {
            if !page.kind.is_interior() && self.claims.dispute(visit.page) {
                self.disputed.push(Disputed { page: visit.page, table: number });
            }
            return Ok(Found::Hole);
        }
        if !page.kind.is_interior() {
            return self.leaf(number, visit, &page);
        }
        if visit.depth >= DEEPEST {
            return Ok(Found::Hole);
        }
        let is_ours = self.claims.claim(visit.page, tree);
        if without_rowid && is_ours {
            let cells = leaf::cells(self.database, &page);
            let fits = |table: &TableTree| table.is_unknown() || cells.fit(table) <= Fit::Short;
            if self.tables.get(number).is_some_and(fits) {
                self.take(number, &page, &cells, Fit::Short)?;
            }
        }
        Ok(Found::Below(below(&page, visit)))
    }

    /// A page, whose first byte, which says what it is, may be damaged: it is of the kind as which
    /// everything else on it is as it should be.
    fn page(&self, number: usize, visit: Visit, without_rowid: bool) -> Option<Page> {
        let usable = self.database.layout.usable;
        let (leaf, interior) = if without_rowid {
            (PageKind::IndexLeaf, PageKind::IndexInterior)
        } else {
            (PageKind::TableLeaf, PageKind::TableInterior)
        };
        let bytes = self.database.read(visit.page)?;
        let page = Page::parse(visit.page, bytes.clone(), usable);
        if page.as_ref().is_none_or(|page| page.kind == interior)
            && let Some(page) = Page::parse_as(leaf, visit.page, bytes.clone(), usable)
            && self.is_sound_leaf(number, visit, &page)
        {
            return Some(page);
        }
        if page.is_none()
            && let Some(page) = Page::parse_as(interior, visit.page, bytes, usable)
            && self.is_sound_interior(visit, &page)
        {
            return Some(page);
        }
        page
    }

    fn is_sound_leaf(&self, number: usize, visit: Visit, page: &Page) -> bool {
        let mut cells = leaf::cells(self.database, page);
        cells.lost == 0
            && !cells.readable.is_empty()
            && cells.readable.iter().all(|peek| !peek.is_stray)
            && self.tables.get(number).is_some_and(|table| cells.fit(table) == Fit::Exact)
            && (!page.kind.is_table() || cells.keep_within(visit.low, visit.high))
    }

    /// Every page below is in the file and there once, and the rowids rise.
    fn is_sound_interior(&self, visit: Visit, page: &Page) -> bool {
        let visits = below(page, visit);
        let mut pages: Vec<u32> = visits.iter().map(|visit| visit.page).collect();
        pages.sort_unstable();
        let rises = |visit: &Visit| match (visit.low, visit.high) {
            (Some(low), Some(high)) => low < high,
            _ => true,
        };
        !page.is_empty()
            && pages.iter().all(|page| *page > 1 && *page <= self.database.count)
            && pages.windows(2).all(|pair| pair.first() != pair.last())
            && visits.iter().all(rises)
    }

    fn leaf(&mut self, number: usize, visit: Visit, page: &Page) -> Result<Found> {
        let mut cells = leaf::cells(self.database, page);
        if cells.readable.is_empty() {
            let interior =
                if page.kind.is_table() { PageKind::TableInterior } else { PageKind::IndexInterior };
            let mended =
                page.read_as(interior).filter(|page| cells.lost > 0 && self.is_sound_interior(visit, page));
            if let Some(page) = mended.filter(|_| visit.depth < DEEPEST) {
                self.claims.claim(visit.page, tree(number));
                return Ok(Found::Below(below(&page, visit)));
            }
            let is_ours = self.claims.claim(visit.page, tree(number));
            if let Some(told) = self.told.get_mut(number).filter(|_| is_ours) {
                told.unreadable += cells.lost;
            }
            let is_empty = is_ours && cells.lost == 0;
            return Ok(if is_empty { Found::Rows(None) } else { Found::Hole });
        }
        let fits = self.fits_best(number, &cells, page.kind.is_table());
        let is_in_place = !page.kind.is_table() || cells.keep_within(visit.low, visit.high);
        if fits && is_in_place && self.claims.claim(visit.page, tree(number)) {
            let range = cells.range().filter(|_| page.kind.is_table());
            self.take(number, page, &cells, Fit::Short)?;
            return Ok(Found::Rows(range));
        }
        if self.claims.dispute(visit.page) {
            self.disputed.push(Disputed { page: visit.page, table: number });
        }
        Ok(Found::Hole)
    }

    /// Whether rows look like those of this table, and not more like those of another.
    fn fits_best(&self, number: usize, cells: &Cells, has_rowids: bool) -> bool {
        let Some(table) = self.tables.get(number) else { return false };
        if table.is_unknown() {
            return true;
        }
        let (fit, likeness) = (cells.fit(table), cells.likeness(table));
        let is_better = |other: &TableTree| {
            other.without_rowid != has_rowids
                && cells.fit(other) == Fit::Exact
                && (fit == Fit::Short || cells.likeness(other) > likeness)
        };
        fit <= Fit::Short && !self.tables.iter().any(is_better)
    }

    /// Takes the rows of a page for a table; those that are not sure, or that it refuses, beside
    /// it, and all of a table that is left out. How many the table has now.
    pub(super) fn take(&mut self, number: usize, page: &Page, cells: &Cells, worst: Fit) -> Result<u64> {
        let (Some(table), Some(told)) = (self.tables.get(number), self.told.get_mut(number)) else {
            return Ok(0);
        };
        told.unreadable += cells.lost;
        let mut kept = 0;
        for peek in &cells.readable {
            self.steps.go_on()?;
            let row = leaf::row(self.database, page, peek, Some((table, worst)));
            told.invalid_texts += row.invalid_texts;
            if row.is_sure && !table.is_left_out && self.writer.insert(number, table, &row)? {
                for index in IndexTree::of_table_mut(&mut self.indexes, number) {
                    index.add(&row);
                }
                kept += 1;
            } else {
                self.writer.set_aside(Place { root: table.root, page: page.number }, &row)?;
                told.set_aside += 1;
            }
        }
        told.kept += kept;
        Ok(kept)
    }
}

/// The number of a table's tree.
pub(super) fn tree(number: usize) -> u32 {
    u32::try_from(number + 1).unwrap_or(1)
}

/// The pages below an interior one, in their order. A cell that cannot be read leads to page 0,
/// which is none.
fn below(page: &Page, visit: Visit) -> Vec<Visit> {
    let mut low = visit.low;
    let mut visits = Vec::with_capacity(page.len() + 1);
    for at in 0..page.len() {
        let cell = page.cell(at);
        let high = cell.as_ref().and_then(|cell| cell.rowid);
        let child = cell.and_then(|cell| cell.child).unwrap_or_default();
        visits.push(Visit { page: child, low, high, depth: visit.depth + 1 });
        low = high;
    }
    let right = page.right.unwrap_or_default();
    visits.push(Visit { page: right, low, high: visit.high, depth: visit.depth + 1 });
    visits
}
