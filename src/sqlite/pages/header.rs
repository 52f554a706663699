//! The first hundred bytes of a database
//! (<https://www.sqlite.org/fileformat2.html#the_database_header>). Says what they say; whether the
//! pages agree is not known here.

/// Bytes of the header.
pub(super) const LENGTH: usize = 100;

/// How every database begins.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// SQLite opens no file that leaves less of a page.
const LEAST_USABLE: u32 = 480;

/// How texts are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `PRAGMA encoding` = UTF-8.
    Utf8,
    /// UTF-16le.
    Utf16Le,
    /// UTF-16be.
    Utf16Be,
}

impl Encoding {
    /// As `PRAGMA encoding` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16le",
            Self::Utf16Be => "UTF-16be",
        }
    }
}

/// What the pages of a file are read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a page.
    pub page_size: u32,
    /// Bytes of a page without those that an extension reserved at its end.
    pub usable: u32,
    /// Of its texts.
    pub encoding: Encoding,
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How pages are read.
    pub layout: Layout,
    /// The file was last in WAL mode.
    pub is_wal: bool,
    /// First trunk page of the freelist; 0 for none.
    pub freelist: u32,
    /// Pages on the freelist.
    pub free_pages: u32,
    /// Not 0 in a file with auto_vacuum.
    pub largest_root: u32,
    /// auto_vacuum is incremental.
    pub is_incremental: bool,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA application_id`.
    pub application_id: i32,
}

impl Header {
    /// Reads it; `None` where SQLite would not take it for a header.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let page_size = match u16::from_be_bytes(array(bytes, 16)?) {
            1 => 65_536,
            size => u32::from(size),
        };
        let usable = page_size.checked_sub(u32::from(*bytes.get(20)?))?;
        let is_one = bytes.starts_with(MAGIC)
            && is_page_size(page_size)
            && bytes.get(21..24)? == [64, 32, 32]
            && usable >= LEAST_USABLE;
        // 0: a database without a single text yet.
        let encoding = match number(bytes, 56)? {
            0 | 1 => Encoding::Utf8,
            2 => Encoding::Utf16Le,
            3 => Encoding::Utf16Be,
            _ => return None,
        };
        is_one.then_some(Self {
            layout: Layout { page_size, usable, encoding },
            is_wal: bytes.get(18..20)? == [2, 2],
            freelist: number(bytes, 32)?,
            free_pages: number(bytes, 36)?,
            largest_root: number(bytes, 52)?,
            is_incremental: number(bytes, 64)? != 0,
            user_version: number(bytes, 60)?.cast_signed(),
            application_id: number(bytes, 68)?.cast_signed(),
        })
    }
}

/// A header for a file that has none that SQLite takes: it reads the pages so, and finds their
/// number by the file's size.
pub(super) fn written(layout: Layout, is_wal: bool, application_numbers: (i32, i32)) -> [u8; LENGTH] {
    let mut header = [0; LENGTH];
    let size = u16::try_from(layout.page_size).unwrap_or(1).to_be_bytes();
    let version = if is_wal { 2 } else { 1 };
    let reserved = u8::try_from(layout.page_size - layout.usable).unwrap_or(0);
    let encoding = match layout.encoding {
        Encoding::Utf8 => 1,
        Encoding::Utf16Le => 2,
        Encoding::Utf16Be => 3,
    };
    let (user_version, application_id) = application_numbers;
    let fields: [(usize, &[u8]); 8] = [
        (0, MAGIC),
        (16, &size),
        (18, &[version, version, reserved, 64, 32, 32]),
        // The format of the schema.
        (44, &[0, 0, 0, 4]),
        (56, &[0, 0, 0, encoding]),
        (60, &user_version.to_be_bytes()),
        (68, &application_id.to_be_bytes()),
        // Another change counter than that of the size, so that the size counts for nothing.
        (24, &[0, 0, 0, 1]),
    ];
    for (at, bytes) in fields {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    header
}

/// A power of two from 512 to 65536.
pub(super) const fn is_page_size(size: u32) -> bool {
    size.is_power_of_two() && size >= 512 && size <= 65_536
}

/// Four bytes, big-endian.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(array(bytes, at)?))
}

/// Bytes at a place.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
