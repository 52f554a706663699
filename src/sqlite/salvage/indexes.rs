//! The trees of the indexes: which pages are theirs, and how many entries they have, which is how many rows their table
//! had. Their content is not used: they are built anew.

use super::schema::{DEEPEST, Entry, Sort};
use super::trees::Trees;
use crate::error::Result;

impl Trees<'_, '_, '_> {
    /// Follows all indexes, and says of each table how many rows they know of, where they agree.
    pub(super) fn count_by_indexes(&mut self, entries: &[Entry]) -> Result<()> {
        let mut counts: Vec<Vec<u64>> = vec![Vec::new(); self.tables.len()];
        let indexes = entries.iter().filter(|entry| entry.sort == Sort::Index && entry.root > 0);
        for (tree, index) in (super::trees::tree(self.tables.len())..).zip(indexes) {
            let entries = self.entries(index.root, tree)?;
            // Of a partial index: it has the entries of some rows.
            let has_all = index.sql.as_deref().is_none_or(|sql| !sql.to_ascii_uppercase().contains("WHERE"));
            let of = self.tables.iter().position(|table| table.name.eq_ignore_ascii_case(&index.table));
            if let (Some(entries), Some(counts)) =
                (entries.filter(|_| has_all), of.and_then(|of| counts.get_mut(of)))
            {
                counts.push(entries);
            }
        }
        for (told, counts) in self.told.iter_mut().zip(counts) {
            let agree = counts.windows(2).all(|pair| pair.first() == pair.last());
            told.expected = counts.first().copied().filter(|_| agree);
        }
        Ok(())
    }

    /// The entries of an index; `None` where not all of its pages can be read.
    fn entries(&mut self, root: u32, tree: u32) -> Result<Option<u64>> {
        let (mut stack, mut entries, mut is_whole) = (vec![(root, 0)], 0, true);
        while let Some((number, depth)) = stack.pop() {
            self.steps.one()?;
            let may = depth < DEEPEST && self.claims.enter(number, tree);
            let page = if may { self.database.tree_page(number) } else { None };
            let page = page.filter(|page| !page.kind.is_table());
            let Some(page) = page.filter(|_| self.claims.claim(number, tree)) else {
                is_whole = false;
                continue;
            };
            entries += (0..page.len()).filter(|at| page.cell(*at).is_some()).count() as u64;
            is_whole &= (0..page.len()).all(|at| page.cell(at).is_some());
            if page.kind.is_interior() {
                let below = (0..page.len()).filter_map(|at| page.cell(at)?.child).chain(page.right);
                stack.extend(below.map(|child| (child, depth + 1)));
            }
        }
        Ok(is_whole.then_some(entries))
    }
}
