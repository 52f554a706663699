//! The trees of the indexes: which pages are theirs, how many entries they have, which is how many
//! rows their table had, and what these entries are, taken together. What they say of single rows
//! is asked of them later.

use super::Trees;
use crate::error::Result;
use crate::sqlite::salvage::entry::Sum;
use crate::sqlite::salvage::schema::DEEPEST;

impl Trees<'_, '_, '_> {
    /// Follows all indexes, and says of each table how many rows they know of, where they agree.
    pub(in crate::sqlite::salvage) fn follow_indexes(&mut self) -> Result<()> {
        let mut counts: Vec<Vec<u64>> = vec![Vec::new(); self.tables.len()];
        for number in 0..self.indexes.len() {
            self.follow_index(number, super::tree(self.tables.len() + number))?;
        }
        for index in self.indexes.iter().filter(|index| index.is_whole && !index.is_partial) {
            if let Some(counts) = counts.get_mut(index.of) {
                counts.push(index.found.count);
            }
        }
        for (told, counts) in self.told.iter_mut().zip(counts) {
            let agree = counts.windows(2).all(|pair| pair.first() == pair.last());
            told.expected = counts.first().copied().filter(|_| agree);
        }
        Ok(())
    }

    fn follow_index(&mut self, number: usize, tree: u32) -> Result<()> {
        let Some(index) = self.indexes.get(number) else { return Ok(()) };
        let (mut stack, mut pages, mut found, mut is_whole) =
            (vec![(index.root, 0)], Vec::new(), Sum::default(), true);
        while let Some((number, depth)) = stack.pop() {
            self.steps.one()?;
            let may = depth < DEEPEST && self.claims.enter(number, tree);
            let page = if may { self.database.tree_page(number) } else { None };
            let page = page.filter(|page| !page.kind.is_table());
            let Some(page) = page.filter(|_| self.claims.claim(number, tree)) else {
                is_whole = false;
                continue;
            };
            pages.push(number);
            for at in 0..page.len() {
                match page.cell(at) {
                    // Which entries they are is of use only where the rows tell theirs.
                    Some(_) if index.given.is_none() => found.count += 1,
                    Some(_) => {
                        found.add(index.read(self.database, &page, at).as_ref().map(|entry| entry.iter()));
                    }
                    None => is_whole = false,
                }
            }
            if page.kind.is_interior() {
                let below = (0..page.len()).filter_map(|at| page.cell(at)?.child).chain(page.right);
                stack.extend(below.map(|child| (child, depth + 1)));
            }
        }
        if let Some(index) = self.indexes.get_mut(number) {
            index.pages = pages;
            index.found = found;
            index.is_whole = is_whole;
        }
        Ok(())
    }
}
