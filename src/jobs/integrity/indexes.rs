//! Indexes that were found wrong: remembered until a check finds them right, or maintenance has
//! rebuilt them. Must never rebuild one itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::sqlite::checks::{self, Found};
use crate::state::facts::{self, DAMAGED_INDEXES, INDEX_PROBLEMS};

/// The word in [`INDEX_PROBLEMS`].
const WORD: &str = "damaged";

/// Indexes that an earlier check found wrong, with their tables.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<String, String>);

impl Suspects {
    /// Those that still exist.
    pub(super) fn recall(run: &Run, reader: &Reader<'_>) -> Result<Self> {
        let names = run.recall(DAMAGED_INDEXES)?;
        if names.is_empty() {
            return Ok(Self::default());
        }
        let with_tables = reader.read(|connection| {
            let mut tables = BTreeMap::new();
            for name in names {
                if let Some(table) = checks::table_of(connection, &name)? {
                    tables.insert(name, table);
                }
            }
            Ok(tables)
        })?;
        Ok(Self(with_tables))
    }

    /// Whether an index of this table is among them.
    pub(super) fn has_table(&self, table: &str) -> bool {
        self.0.values().any(|of| of == table)
    }
}

/// The indexes that a rebuild would put right: none in a file whose pages are damaged, where it
/// would write into the damage. Earlier ones stay as long as their table cannot be checked.
pub(super) fn damaged(found: &Found, suspects: &Suspects, checked: &BTreeSet<String>) -> Vec<String> {
    if !found.structure.is_empty() {
        return Vec::new();
    }
    let left =
        suspects.0.iter().filter(|(_, table)| !checked.contains(*table)).map(|(index, _)| index.clone());
    found.indexes.iter().cloned().chain(left).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Keeps them for maintenance and for the metrics.
pub(super) fn keep(run: &Run, damaged: &Vec<String>) -> Result<()> {
    run.state.transaction(|transaction| {
        let name = &run.database.name;
        facts::update_in(transaction, name, INDEX_PROBLEMS, |all| {
            all.retain(|(_, word)| word != WORD);
            all.extend(damaged.iter().map(|index| (index.clone(), WORD.to_owned())));
        })?;
        facts::remember(transaction, name, DAMAGED_INDEXES, damaged)
    })
}
