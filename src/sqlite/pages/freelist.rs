//! Pages that nothing uses (<https://www.sqlite.org/fileformat2.html#the_freelist>).

use super::header::number;
use super::{Database, Header};

/// The list, as far as it could be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freelist {
    /// Pages on it, in the order of the list, each once.
    pub pages: Vec<u32>,
    /// It has as many pages as the header says, and each is in the file and on it once.
    pub is_whole: bool,
}

impl Freelist {
    /// Follows the list of a file whose header can be read.
    pub fn read(database: &Database<'_>) -> Self {
        let Some(Header { freelist, free_pages, .. }) = database.header else { return Self::default() };
        let mut found = Self { pages: Vec::new(), is_whole: true };
        let mut seen = vec![false; usize::try_from(database.count).unwrap_or(0) + 1];
        let mut is_new = |page: u32| {
            let is_known = usize::try_from(page).ok().and_then(|page| seen.get_mut(page));
            page > 1 && is_known.is_some_and(|is_known| !std::mem::replace(is_known, true))
        };
        let mut trunk = freelist;
        while trunk != 0 {
            let page = if is_new(trunk) { database.read(trunk) } else { None };
            let Some(page) = page else {
                found.is_whole = false;
                break;
            };
            found.pages.push(trunk);
            let claimed = usize::try_from(number(&page, 4).unwrap_or(0)).unwrap_or(0);
            let most = usize::try_from(database.layout.usable / 4 - 2).unwrap_or(0);
            found.is_whole &= claimed <= most;
            for leaf in 0..claimed.min(most) {
                match number(&page, 8 + 4 * leaf) {
                    Some(leaf) if is_new(leaf) => found.pages.push(leaf),
                    _ => found.is_whole = false,
                }
            }
            trunk = number(&page, 0).unwrap_or(0);
        }
        found.is_whole &= found.pages.len() as u64 == u64::from(free_pages);
        found
    }
}
