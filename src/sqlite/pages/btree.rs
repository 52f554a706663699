//! Pages of b-trees and their cells (<https://www.sqlite.org/fileformat2.html#b_tree_pages>).

use std::ops::Range;

use super::header::{LENGTH, array, number};
use super::record::Fields;
use super::varint::varint;

/// What a page of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// Keys of an index, or rows of a table WITHOUT ROWID, and the pages below.
    IndexInterior,
    /// Rowids and the pages below.
    TableInterior,
    /// Keys of an index, or rows of a table WITHOUT ROWID.
    IndexLeaf,
    /// Rows.
    TableLeaf,
}

impl PageKind {
    const fn of(flag: u8) -> Option<Self> {
        match flag {
            2 => Some(Self::IndexInterior),
            5 => Some(Self::TableInterior),
            10 => Some(Self::IndexLeaf),
            13 => Some(Self::TableLeaf),
            _ => None,
        }
    }

    /// Whether pages lie below it.
    pub const fn is_interior(self) -> bool {
        matches!(self, Self::IndexInterior | Self::TableInterior)
    }

    /// Whether its cells have rowids.
    pub const fn is_table(self) -> bool {
        matches!(self, Self::TableInterior | Self::TableLeaf)
    }
}

/// A page of a tree.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: PageKind,
    /// The last page below it, of an interior one.
    pub right: Option<u32>,
    bytes: Vec<u8>,
    usable: usize,
    /// Where the pointers to the cells begin.
    pointers: usize,
    cells: usize,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The page below that comes before it, of an interior page.
    pub child: Option<u32>,
    /// Its rowid, on pages of tables.
    pub rowid: Option<i64>,
    /// Bytes of the record; 0 where an interior page of a table has none.
    pub length: u64,
    /// Where the record, or its first part, lies in the page.
    pub local: Range<usize>,
    /// Where it goes on.
    pub overflow: Option<u32>,
    /// Where the whole cell lies in the page.
    pub place: Range<usize>,
}

impl Page {
    /// Reads the header of a page; `None` where it is no page of a tree.
    pub fn parse(number: u32, bytes: Vec<u8>, usable: u32) -> Option<Self> {
        let kind = PageKind::of(*bytes.get(start(number))?)?;
        Self::parse_as(kind, number, bytes, usable)
    }

    /// The same for a page whose first byte is damaged.
    pub fn parse_as(kind: PageKind, page: u32, bytes: Vec<u8>, usable: u32) -> Option<Self> {
        let start = start(page);
        let cells = usize::from(u16::from_be_bytes(array(&bytes, start + 3)?));
        let right = if kind.is_interior() { Some(number(&bytes, start + 8)?) } else { None };
        let pointers = start + if kind.is_interior() { 12 } else { 8 };
        let usable = usize::try_from(usable).ok()?.min(bytes.len());
        // A cell has at least four bytes beside the two of its pointer.
        let most = usable.checked_sub(pointers)? / 2;
        Some(Self { number: page, kind, right, bytes, usable, pointers, cells: cells.min(most) })
    }

    /// How many cells it says that it has, as far as there is room for their pointers.
    pub const fn len(&self) -> usize {
        self.cells
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.cells == 0
    }

    /// A cell; `None` where it does not lie within the page.
    pub fn cell(&self, index: usize) -> Option<Cell> {
        let head = self.head(index)?;
        self.with_length(head.length, &head)
    }

    /// A cell by what the header of its record says of its length, where the cell itself says
    /// something else. Only of a record that lies in the page as a whole.
    pub fn cell_by_record(&self, index: usize) -> Option<Cell> {
        let head = self.head(index).filter(|_| self.kind != PageKind::TableInterior)?;
        let length = Fields::read(self.bytes.get(head.local.start..self.usable)?)?.length;
        self.with_length(length, &head).filter(|cell| cell.overflow.is_none())
    }

    /// What comes before the record of a cell.
    fn head(&self, index: usize) -> Option<Cell> {
        if index >= self.cells {
            return None;
        }
        let at = usize::from(u16::from_be_bytes(array(&self.bytes, self.pointers + 2 * index)?));
        // Behind its pointer: what lies before is no cell's. How many pointers there are may be
        // damaged.
        if at < self.pointers + 2 * (index + 1) {
            return None;
        }
        let usable = self.bytes.get(..self.usable)?;
        let (child, mut next) =
            if self.kind.is_interior() { (Some(number(usable, at)?), at + 4) } else { (None, at) };
        let mut take = || {
            let (value, length) = varint(usable.get(next..)?)?;
            next += length;
            Some(value)
        };
        let length = if self.kind == PageKind::TableInterior { 0 } else { take()? };
        let rowid = if self.kind.is_table() { Some(take()?.cast_signed()) } else { None };
        Some(Cell { child, rowid, length, local: next..next, overflow: None, place: at..next })
    }

    fn with_length(&self, length: u64, head: &Cell) -> Option<Cell> {
        let (local, has_more) = self.local(length)?;
        let local = head.local.start..head.local.start.checked_add(local)?;
        let overflow = if has_more { Some(number(self.bytes.get(..self.usable)?, local.end)?) } else { None };
        let place = head.place.start..local.end + if has_more { 4 } else { 0 };
        (place.end <= self.usable).then_some(Cell { length, local, overflow, place, ..*head })
    }

    /// The part of a cell's record that lies in the page.
    pub fn local_part(&self, cell: &Cell) -> &[u8] {
        self.bytes.get(cell.local.clone()).unwrap_or_default()
    }

    /// Where the first cells lie that a page gets: at its very end.
    pub const fn end(&self) -> usize {
        self.usable
    }

    /// The page read as one of another kind.
    pub fn read_as(&self, kind: PageKind) -> Option<Self> {
        let usable = u32::try_from(self.usable).ok()?;
        Self::parse_as(kind, self.number, self.bytes.clone(), usable)
    }

    /// Where the content of cells begins, by the header.
    pub fn content_start(&self) -> usize {
        match array(&self.bytes, start(self.number) + 5).map_or(0, u16::from_be_bytes) {
            0 => 65_536,
            at => usize::from(at),
        }
    }

    /// How much of a record of `length` bytes lies in the page, and whether more lies elsewhere.
    fn local(&self, length: u64) -> Option<(usize, bool)> {
        let usable = self.usable as u64;
        let most = if self.kind.is_table() {
            usable.checked_sub(35)?
        } else {
            (usable.checked_sub(12)? * 64 / 255).checked_sub(23)?
        };
        if length <= most {
            return Some((usize::try_from(length).ok()?, false));
        }
        let least = (usable.checked_sub(12)? * 32 / 255).checked_sub(23)?;
        let filled = least + (length - least) % (usable - 4);
        Some((usize::try_from(if filled <= most { filled } else { least }).ok()?, true))
    }
}

/// Where the header of a tree's page begins.
const fn start(number: u32) -> usize {
    if number == 1 { LENGTH } else { 0 }
}
