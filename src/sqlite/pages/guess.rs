//! What the header must have said, told from the pages: their size by how many look like pages of
//! trees when the file is cut so, the reserved bytes by where their content ends, the encoding by
//! the words that every schema has.

use super::header::is_page_size;
use super::{Bytes, Encoding, Fields, Header, Layout, Page, Value};

/// Pages that are looked at for each size: enough to tell, few enough to take no time.
const SAMPLE: u64 = 128;

/// The layout, and whether it is the header's; `None` where no page is found and there is no
/// header.
pub(super) fn layout(bytes: &dyn Bytes, header: Option<&Header>) -> Option<(Layout, bool)> {
    let length = bytes.length();
    let sizes = (9..=16).map(|power| 1_u32 << power);
    let best = sizes.map(|size| (looks_like_pages(bytes, length, size), size)).max_by_key(|(pages, size)| {
        // Cut at a multiple of its size, every other page looks right as well; cut at a part of it,
        // those that begin with a long record do, which goes on elsewhere in pages of any size.
        (pages * u64::from(size.isqrt()), std::cmp::Reverse(*size))
    });
    let (pages, size) = best.filter(|(_, size)| is_page_size(*size))?;
    if let Some(header) = header {
        let own = looks_like_pages(bytes, length, header.layout.page_size);
        if own >= pages.div_ceil(2) {
            let (layout, agrees) = with_encoding(bytes, header.layout);
            let reserved = header.layout.page_size - header.layout.usable;
            // Only odd builds reserve bytes, and all pages keep off them.
            if reserved > 0 && reserved_bytes(bytes, length, layout.page_size) < reserved {
                return Some((Layout { usable: layout.page_size, ..layout }, false));
            }
            return Some((layout, agrees));
        }
    }
    if pages == 0 {
        return None;
    }
    let usable = size - reserved_bytes(bytes, length, size);
    let layout = Layout { page_size: size, usable, encoding: Encoding::Utf8 };
    Some((with_encoding(bytes, layout).0, false))
}

/// Up to [`SAMPLE`] pages, evenly over the file. Of the first, only what follows its header.
fn sample(bytes: &dyn Bytes, length: u64, size: u32) -> impl Iterator<Item = (u32, Vec<u8>)> {
    let count = length / u64::from(size);
    let step = count.div_ceil(SAMPLE).max(1);
    (0..count.div_ceil(step)).filter_map(move |at| {
        let number = at * step;
        let mut page = vec![0; usize::try_from(size).ok()?];
        let read = bytes.read(number * u64::from(size), &mut page);
        read.then_some((u32::try_from(number + 1).ok()?, page))
    })
}

/// How many pages of the sample are pages of trees, with every cell in its place; as if the sample
/// were all.
fn looks_like_pages(bytes: &dyn Bytes, length: u64, size: u32) -> u64 {
    let step = (length / u64::from(size)).div_ceil(SAMPLE).max(1);
    sample(bytes, length, size).filter(|(number, page)| is_page(*number, page, size)).count() as u64 * step
}

fn is_page(number: u32, page: &[u8], size: u32) -> bool {
    let Some(page) = Page::parse(number, page.to_vec(), size) else { return false };
    !page.is_empty()
        && page.content_start() <= size as usize
        && (0..page.len())
            .all(|at| page.cell(at).is_some_and(|cell| cell.place.start >= page.content_start()))
}

/// Bytes at the end of all pages that no cell reaches. The first cell of a page is put at its very
/// end.
fn reserved_bytes(bytes: &dyn Bytes, length: u64, size: u32) -> u32 {
    let ends = sample(bytes, length, size).filter_map(|(number, page)| {
        let is_page = is_page(number, &page, size);
        let page = Page::parse(number, page, size).filter(|_| is_page)?;
        (0..page.len()).filter_map(|at| Some(page.cell(at)?.place.end)).max()
    });
    let last = ends.max().and_then(|end| u32::try_from(end).ok()).unwrap_or(size);
    // The header has one byte for it; a page that is hardly filled tells nothing.
    Some(size.saturating_sub(last)).filter(|reserved| *reserved < 256 && *reserved % 4 == 0).unwrap_or(0)
}

/// The encoding in which the first page's schema reads; that of `layout` where none does. Whether
/// it was that one.
fn with_encoding(bytes: &dyn Bytes, layout: Layout) -> (Layout, bool) {
    let mut page = vec![0; layout.page_size as usize];
    if !(bytes.length() >= page.len() as u64 && bytes.read(0, &mut page)) {
        return (layout, true);
    }
    let Some(page) = Page::parse(1, page, layout.usable) else { return (layout, true) };
    let found = (0..page.len()).find_map(|at| {
        let cell = page.cell(at)?;
        let local = page.local_part(&cell);
        // As bytes, whatever the encoding.
        let fields = Fields::read(local).filter(|fields| fields.length == cell.length)?;
        let Some(Value::Text(sort)) = fields.values(local, Encoding::Utf8).into_iter().next().flatten()
        else {
            return None;
        };
        match sort.as_slice() {
            b"table" | b"index" | b"view" | b"trigger" => Some(Encoding::Utf8),
            [a, 0, ..] if *a != 0 => Some(Encoding::Utf16Le),
            [0, a, ..] if *a != 0 => Some(Encoding::Utf16Be),
            _ => None,
        }
    });
    let encoding = found.unwrap_or(layout.encoding);
    (Layout { encoding, ..layout }, encoding == layout.encoding)
}
