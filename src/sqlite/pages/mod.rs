//! SQLite's file format, read without SQLite, for files that it refuses
//! (<https://www.sqlite.org/fileformat2.html>). Pure: bytes in, structures out. Must never panic,
//! loop for ever or take a length that the file claims for one that it has: memory is bounded by a
//! page and the largest record that is really there.

pub mod btree;
mod bytes;
mod chain;
mod freelist;
mod guess;
mod header;
mod record;
mod varint;

pub use btree::{Cell, Page, PageKind};
pub use bytes::Bytes;
pub use chain::{Payload, payload};
pub use freelist::Freelist;
pub use header::{Encoding, Header, Layout, MAGIC};
pub use record::{Fields, Value};

/// The page that holds the byte at 1 GiB holds nothing else
/// (<https://www.sqlite.org/fileformat2.html#the_lock_byte_page>).
const LOCK_BYTE: u32 = 1 << 30;

/// A file taken for a database.
#[derive(Clone, Copy)]
pub struct Database<'b> {
    bytes: &'b dyn Bytes,
    /// How its pages are read.
    pub layout: Layout,
    /// What its header says, where that agrees with its pages.
    pub header: Option<Header>,
    /// Pages that the file has, a cut one at its end included.
    pub count: u32,
}

impl<'b> Database<'b> {
    /// Reads the header; where it is damaged, finds out what it must have said from the pages.
    /// `None` where nothing in it looks like a page.
    pub fn open(bytes: &'b dyn Bytes) -> Option<Self> {
        let mut first = [0; header::LENGTH];
        let read = bytes.length() >= first.len() as u64 && bytes.read(0, &mut first);
        let header = if read { Header::parse(&first) } else { None };
        let (layout, agrees) = guess::layout(bytes, header.as_ref())?;
        let header = header.filter(|_| agrees);
        let count = bytes.length().div_ceil(u64::from(layout.page_size));
        let mut this = Self { bytes, layout, header, count: u32::try_from(count).unwrap_or(u32::MAX - 1) };
        if this.has_pointer_maps() && !this.first_pointer_map_is_one() {
            this.header = this.header.map(|header| Header { largest_root: 0, ..header });
        }
        Some(this)
    }

    /// A header that SQLite takes, for a copy of a file whose own is broken.
    pub fn mended_header(&self, is_wal: bool) -> [u8; header::LENGTH] {
        header::written(self.layout, is_wal, self.application_numbers())
    }

    /// A page's bytes; what lies behind the end of a cut file is zero. `None` where there is no
    /// such page.
    pub fn read(&self, number: u32) -> Option<Vec<u8>> {
        if number == 0 || number > self.count {
            return None;
        }
        let size = self.layout.page_size;
        let offset = u64::from(number - 1) * u64::from(size);
        let there = self.bytes.length().saturating_sub(offset).min(u64::from(size));
        let mut page = vec![0; usize::try_from(size).ok()?];
        self.bytes.read(offset, page.get_mut(..usize::try_from(there).ok()?)?).then_some(page)
    }

    /// A page as part of a tree; `None` where it is none.
    pub fn tree_page(&self, number: u32) -> Option<Page> {
        Page::parse(number, self.read(number)?, self.layout.usable)
    }

    /// Whether a page is no tree's, overflow's or freelist's by its number alone: that of the
    /// locks, and in a file with auto_vacuum the pointer maps
    /// (<https://www.sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages>).
    pub fn is_reserved(&self, number: u32) -> bool {
        let lock = LOCK_BYTE / self.layout.page_size + 1;
        number == lock || (self.has_pointer_maps() && self.pointer_map_of(number) == number)
    }

    /// What the pointer map says of a page: its type (1 a root, 2 free, 3 and 4 overflow, 5 a
    /// tree's) and its parent. `None` where the file has none, or it is damaged.
    pub fn pointer(&self, number: u32) -> Option<(u8, u32)> {
        if !self.has_pointer_maps() || number < 3 || number > self.count || self.is_reserved(number) {
            return None;
        }
        let map = self.pointer_map_of(number);
        let at = u64::from(map - 1) * u64::from(self.layout.page_size) + u64::from(number - map - 1) * 5;
        let mut entry = [0; 5];
        if at + 5 > self.bytes.length() || !self.bytes.read(at, &mut entry) {
            return None;
        }
        let [kind, parent @ ..] = entry;
        (1..=5).contains(&kind).then(|| (kind, u32::from_be_bytes(parent)))
    }

    /// `user_version` and `application_id`, as they stand in the header, be the rest of it damaged
    /// or not.
    pub fn application_numbers(&self) -> (i32, i32) {
        let number = |at: u64| {
            let mut bytes = [0; 4];
            let read = self.bytes.length() >= at + 4 && self.bytes.read(at, &mut bytes);
            if read { i32::from_be_bytes(bytes) } else { 0 }
        };
        (number(60), number(68))
    }

    fn has_pointer_maps(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.largest_root > 0)
    }

    /// Whether page 2 is a map, and not what it would be without auto_vacuum.
    fn first_pointer_map_is_one(&self) -> bool {
        let entries = self.count.saturating_sub(2).min(self.layout.usable / 5);
        let wrong =
            (3..3 + entries).filter(|page| self.pointer(*page).is_none() && !self.is_reserved(*page)).count();
        wrong * 10 <= entries as usize
    }

    /// The pointer map that has the entry of a page, or is it.
    fn pointer_map_of(&self, number: u32) -> u32 {
        if number < 2 {
            return 0;
        }
        let group = self.layout.usable / 5 + 1;
        let map = (number - 2) / group * group + 2;
        if map == LOCK_BYTE / self.layout.page_size + 1 { map + 1 } else { map }
    }
}
