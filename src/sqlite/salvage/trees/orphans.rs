//! Pages with rows to which no tree leads, or the wrong one. They go to a table only where it has a
//! gap for their rowids, its columns fit, and either its indexes have these very rows and those of
//! no other such table do, or no other table with such a gap fits. All others go to
//! `lost_and_found`. An orphan is taken for lost, and not for deleted, only where the list of free
//! pages is whole.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::evidence::Says;
use super::{Disputed, Trees, tree};
use crate::error::Result;
use crate::sqlite::pages::{Page, PageKind};
use crate::sqlite::salvage::leaf::{self, Cells};
use crate::sqlite::salvage::schema::DEEPEST;
use crate::sqlite::salvage::table::Fit;
use crate::sqlite::salvage::write::Place;

/// How pages that nothing leads to are taken.
#[derive(Debug, Clone, Copy)]
pub(in crate::sqlite::salvage) struct Rules {
    /// The list of free pages is whole: what is not on it was in use.
    pub(in crate::sqlite::salvage) knows_free: bool,
    /// Pages on that list are looked at as well.
    pub(in crate::sqlite::salvage) with_free: bool,
    /// Every table is known: no row of the schema is lost, and each could be made.
    pub(in crate::sqlite::salvage) knows_all_tables: bool,
}

/// Whose a page is, and how that is known.
struct Owner {
    number: usize,
    worst: Fit,
    by_index: bool,
}

impl Trees<'_, '_, '_> {
    /// Judges what is left.
    pub(in crate::sqlite::salvage) fn gather(&mut self, rules: Rules) -> Result<()> {
        for disputed in std::mem::take(&mut self.disputed) {
            self.steps.go_on()?;
            if self.claims.is_disputed(disputed.page) {
                self.judge(disputed.page, Some(disputed), rules)?;
            }
        }
        let parents = self.parents()?;
        for number in 2..=self.database.count {
            self.steps.go_on()?;
            if self.claims.is_unknown(number) && !self.database.is_reserved(number) {
                if self.judge(number, None, rules)? {
                    continue;
                }
                self.set_aside(number, root(number, &parents), rules)?;
            } else if rules.with_free && self.claims.is_free(number) {
                self.set_aside(number, number, rules)?;
            }
        }
        Ok(())
    }

    /// Whether the page found its table. A disputed one is set aside where it did not.
    fn judge(&mut self, number: u32, disputed: Option<Disputed>, rules: Rules) -> Result<bool> {
        let leaf = self.database.tree_page(number).filter(has_rows);
        let Some(page) = leaf else { return Ok(false) };
        let cells = leaf::cells(self.database, &page);
        let known_as_free = self.database.pointer(number).is_some_and(|(kind, _)| kind == 2);
        let is_in_use = disputed.is_some() || (rules.knows_free && !known_as_free);
        let owner = if is_in_use { self.owner(&page, &cells, disputed) } else { None };
        let owner = if owner.is_some() && self.has_twin(number)? { None } else { owner };
        let Some(owner) = owner.filter(|owner| self.claims.claim(number, tree(owner.number))) else {
            if let Some(disputed) = disputed {
                let root = self.tables.get(disputed.table).map_or(0, |table| table.root);
                self.set_aside(number, root, rules)?;
            }
            return Ok(false);
        };
        let kept = self.take(owner.number, &page, &cells, owner.worst)?;
        if let Some(told) = self.told.get_mut(owner.number) {
            told.pages_lost = told.pages_lost.saturating_sub(1);
            told.pages_found += 1;
            let evidence = if owner.by_index { &mut told.rows_by_index } else { &mut told.rows_by_columns };
            *evidence += kept;
        }
        Ok(true)
    }

    /// Whether another page of the file has the very same bytes: a write that went astray leaves
    /// two, and which of them is where it belongs is not told by either.
    fn has_twin(&mut self, number: u32) -> Result<bool> {
        let hash = |page: Vec<u8>| {
            let mut hasher = DefaultHasher::new();
            page.hash(&mut hasher);
            hasher.finish()
        };
        if self.twins.is_none() {
            let (mut seen, mut twins) = (HashSet::new(), HashSet::new());
            for other in 1..=self.database.count {
                self.steps.go_on()?;
                if let Some(hash) = self.database.read(other).map(hash).filter(|hash| !seen.insert(*hash)) {
                    twins.insert(hash);
                }
            }
            self.twins = Some(twins);
        }
        let twins = self.twins.as_ref();
        Ok(self
            .database
            .read(number)
            .map(hash)
            .is_some_and(|hash| twins.is_some_and(|twins| twins.contains(&hash))))
    }

    /// The one table that the rows of a page can be of.
    fn owner(&self, page: &Page, cells: &Cells, disputed: Option<Disputed>) -> Option<Owner> {
        let range = cells.range()?;
        let has_gap = |number: usize| {
            let gaps = self.gaps.get(number).map(Vec::as_slice).unwrap_or_default();
            if page.kind.is_table() { gaps.iter().any(|gap| gap.holds(range)) } else { !gaps.is_empty() }
        };
        let of_kind = self
            .tables
            .iter()
            .enumerate()
            .filter(|(number, table)| table.without_rowid != page.kind.is_table() && has_gap(*number));
        let mut fits: Vec<(usize, Fit)> = of_kind.map(|(number, table)| (number, cells.fit(table))).collect();
        let can_be = |fits: &[(usize, Fit)]| -> Vec<(usize, Fit, Says)> {
            let those = fits.iter().filter(|(_, fit)| *fit <= Fit::Short);
            those.map(|(number, fit)| (*number, *fit, self.indexes_say(*number, page, cells))).collect()
        };
        let asked = can_be(&fits);
        let by_index: Vec<_> = asked.iter().filter(|(.., says)| matches!(says, Says::Yes { .. })).collect();
        if let [(number, worst, says)] = by_index.as_slice() {
            let others_tell = asked.iter().all(|(other, _, says)| other == number || *says == Says::No);
            if others_tell || *says == (Says::Yes { tells: true }) {
                return Some(Owner { number: *number, worst: *worst, by_index: true });
            }
        }
        // A table whose own index does not have these rows never had them.
        fits.retain(|(number, _)| !asked.iter().any(|(other, _, says)| other == number && *says == Says::No));
        self.by_columns(&fits, cells, disputed)
    }

    /// The one table, of those with a gap, that has such columns.
    fn by_columns(&self, fits: &[(usize, Fit)], cells: &Cells, disputed: Option<Disputed>) -> Option<Owner> {
        let owner = |number, worst| Some(Owner { number, worst, by_index: false });
        for worst in [Fit::Exact, Fit::Short] {
            let those = fits.iter().filter(|(_, fit)| *fit <= worst).map(|(number, _)| *number);
            let likeness = |number: usize| self.tables.get(number).map_or(0, |table| cells.likeness(table));
            let those: Vec<(usize, usize)> = those.map(|number| (number, likeness(number))).collect();
            let most = those.iter().map(|(_, likeness)| *likeness).max();
            let best: Vec<usize> = those
                .iter()
                .filter(|(_, likeness)| Some(*likeness) == most)
                .map(|(number, _)| *number)
                .collect();
            match best.as_slice() {
                [one] => return owner(*one, worst),
                [] => {}
                // As good for several: for the one whose tree leads here.
                several => {
                    let own = disputed.map(|disputed| disputed.table).filter(|own| several.contains(own));
                    return own.and_then(|own| owner(own, worst));
                }
            }
        }
        // Rows that its table would not have now, but the tree leads here and no other table wants
        // them.
        let table = disputed?.table;
        let (number, fit) = fits.iter().find(|(number, fit)| *number == table && *fit == Fit::Odd)?;
        owner(*number, *fit)
    }

    fn set_aside(&mut self, number: u32, root: u32, rules: Rules) -> Result<()> {
        let Some(page) = self.database.tree_page(number).filter(has_rows) else {
            return Ok(());
        };
        let of_unknown = !rules.knows_all_tables;
        let may_be_rows = page.kind.is_table()
            || of_unknown
            || self
                .tables
                .iter()
                .zip(&self.gaps)
                .any(|(table, gaps)| table.without_rowid && !gaps.is_empty());
        if !may_be_rows {
            // Keys of an index, which is built anew.
            return Ok(());
        }
        for peek in leaf::cells(self.database, &page).readable {
            let row = leaf::row(self.database, &page, &peek, None);
            self.invalid_texts += row.invalid_texts;
            self.writer.set_aside(Place { root, page: number }, &row)?;
        }
        Ok(())
    }

    /// Which unknown page leads to which.
    fn parents(&mut self) -> Result<HashMap<u32, u32>> {
        let mut parents = HashMap::new();
        for number in 2..=self.database.count {
            self.steps.one()?;
            if !self.claims.is_unknown(number) || self.database.is_reserved(number) {
                continue;
            }
            let page = self.database.tree_page(number).filter(|page| page.kind == PageKind::TableInterior);
            let Some(page) = page else { continue };
            for child in (0..page.len()).filter_map(|at| page.cell(at)?.child).chain(page.right) {
                if self.claims.is_unknown(child) {
                    parents.entry(child).or_insert(number);
                }
            }
        }
        Ok(parents)
    }
}

fn has_rows(page: &Page) -> bool {
    page.kind != PageKind::TableInterior
}

/// The page at the top from which a page is reached.
fn root(page: u32, parents: &HashMap<u32, u32>) -> u32 {
    let mut top = page;
    for _ in 0..DEEPEST {
        match parents.get(&top) {
            Some(parent) => top = *parent,
            None => break,
        }
    }
    top
}
