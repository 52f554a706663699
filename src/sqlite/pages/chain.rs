//! Records that do not fit into their page, and the chain of pages where they go on
//! (<https://www.sqlite.org/fileformat2.html#cell_payload_overflow_pages>).

use std::collections::HashSet;

use super::header::number;
use super::{Cell, Database, Page};

/// No record is longer (`SQLITE_MAX_LENGTH` is at most 2^31 - 1, and 10^9 where nobody changed it);
/// one that claims to be is damaged, and SQLite could not insert it.
const LONGEST: u64 = 1_000_000_000;

/// What was found of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// From its first byte on, as far as the chain goes.
    pub bytes: Vec<u8>,
    /// The pages behind the first.
    pub pages: Vec<u32>,
    /// All of it is there.
    pub is_whole: bool,
    /// All of it is there, but what it was read from does not look as SQLite leaves it: the chain
    /// goes on behind the record, its last page is all zeros, or the pointer map knows its pages as
    /// another's.
    pub is_doubtful: bool,
}

/// Reads the record of a cell. Each page is read once, so that a chain that runs in a circle ends;
/// none longer than the file is begun; and nothing is allocated that was not read.
pub fn payload(database: &Database<'_>, page: &Page, cell: &Cell) -> Payload {
    let mut bytes = page.local_part(cell).to_vec();
    let mut pages = Vec::new();
    let Some(first) = cell.overflow else {
        return Payload { bytes, pages, is_whole: true, is_doubtful: false };
    };
    let a_page = u64::from(database.layout.usable - 4);
    let missing = cell.length.saturating_sub(bytes.len() as u64);
    if cell.length > LONGEST || missing.div_ceil(a_page) > u64::from(database.count) {
        return Payload { bytes, pages, is_whole: false, is_doubtful: true };
    }
    let (mut next, mut missing, mut seen) = (first, missing, HashSet::new());
    let (mut is_doubtful, mut parent) = (false, (3, page.number));
    while missing > 0 {
        let read = if seen.insert(next) { database.read(next) } else { None };
        let Some((content, following)) =
            read.as_ref().and_then(|page| Some((page.get(4..)?, number(page, 0)?)))
        else {
            return Payload { bytes, pages, is_whole: false, is_doubtful: true };
        };
        let take = usize::try_from(missing.min(a_page)).unwrap_or(0);
        let Some(part) = content.get(..take) else {
            return Payload { bytes, pages, is_whole: false, is_doubtful: true };
        };
        missing -= take as u64;
        // A blob of zeros is zero on its other pages as well.
        let is_blank = missing == 0 && following == 0 && content.iter().all(|byte| *byte == 0);
        is_doubtful |= is_blank && bytes.last().is_some_and(|byte| *byte != 0);
        is_doubtful |= database.pointer(next).is_some_and(|known| known != parent);
        bytes.extend_from_slice(part);
        pages.push(next);
        parent = (4, next);
        next = following;
    }
    Payload { bytes, pages, is_whole: true, is_doubtful: is_doubtful || next != 0 }
}
