//! What a rule would do: counted by the same conditions by which rows are removed later, in short
//! reads. Writes nothing.

use std::collections::BTreeMap;

use super::graph::children::{Blockers, Deletions, Graph, Wanted};
use super::graph::links::{Action, Edge};
use super::plan::Plan;
use super::rows::{RowCounts, Tally};
use super::walk::{self, Extent, Position};
use crate::error::Result;
use crate::jobs::reading::Reader;
use crate::sql::quoting::quoted;

/// Old rows of which, in one read, everything that goes with them is gathered: the first time, and
/// at most.
const FIRST_READ: usize = 20;
const ROWS_PER_READ: usize = 2000;

/// Rows that one read should gather at most: some 20 MB.
const GATHERED: usize = 100_000;

/// The figures.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Rows of the rule's table; of these …
    pub(super) rows: u64,
    /// … without a readable date, and …
    pub(super) unreadable: u64,
    /// … past their retention.
    pub(super) matched: u64,
    /// Rows that would be removed and changed, by table.
    pub(super) tally: Tally,
    /// Rows that stand in the way.
    pub(super) blockers: Blockers,
    /// Rows of each table that would lose some.
    pub(super) tables: BTreeMap<String, u64>,
}

impl Count {
    /// By the keys of `graph`, which need not be the plan's own.
    pub(super) fn of(reader: &Reader<'_>, plan: &Plan, graph: &Graph) -> Result<Self> {
        let mut count = Self::default();
        let mut position = Some(Position::default());
        let mut seen = graph.known_rows();
        let alone = graph.edges.is_empty();
        let mut wanted = if alone { usize::MAX } else { FIRST_READ };
        while let Some(from) = position {
            let (slice, doomed) = reader.read(|c| {
                // One read: what points at the rows belongs to the same state as they.
                let read = c.transaction()?;
                let slice = walk::slice(&read, plan, Extent::Table, &from, wanted)?;
                let mut gather = || graph.doomed(&read, &plan.goes, &slice.old, Wanted::Numbers, &mut seen);
                let doomed = if alone { None } else { Some(gather()?) };
                Ok((slice, doomed))
            })?;
            seen.next_slice();
            if let Some(doomed) = &doomed {
                let fitting = wanted.saturating_mul(GATHERED) / doomed.gathered().max(1);
                wanted = fitting.clamp(1, (wanted * 2).min(ROWS_PER_READ));
            }
            count.rows += slice.rows;
            count.unreadable += slice.unreadable;
            count.matched += slice.old.len() as u64;
            match doomed {
                Some(doomed) => count.add(graph, doomed),
                None => count.touched(&plan.table).removed += slice.old.len() as u64,
            }
            position = slice.next;
        }
        for table in count.tally.iter().filter(|(_, touched)| touched.removed > 0).map(|(table, _)| table) {
            let rows = if *table == plan.table {
                count.rows
            } else {
                let sql = format!("SELECT count(*) FROM {}", quoted(table));
                reader.read(|c| Ok(c.query_row(&sql, [], |row| row.get(0))?))?
            };
            count.tables.insert(table.clone(), rows);
        }
        Ok(count)
    }

    /// Rows of a table that would be removed.
    pub(super) fn removed(&self, table: &str) -> u64 {
        self.tally.get(table).map_or(0, |touched| touched.removed)
    }

    fn touched(&mut self, table: &str) -> &mut RowCounts {
        self.tally.entry(table.to_owned()).or_default()
    }

    fn add(&mut self, graph: &Graph, doomed: Deletions) {
        for (table, rows) in doomed.deletes {
            self.touched(&graph.tables[table].name).removed += rows.len() as u64;
        }
        for (edge, rows) in doomed.counted.into_iter().filter(|(_, rows)| *rows > 0) {
            let Edge { child, action, .. } = &graph.edges[edge];
            match action {
                Action::Delete => self.touched(&graph.tables[*child].name).removed += rows,
                Action::Set(_) => self.touched(&graph.tables[*child].name).changed += rows,
                Action::Block(_) => *self.blockers.entry(edge).or_default() += rows,
            }
        }
        for (edge, rows) in doomed.changes {
            self.touched(&graph.tables[graph.edges[edge].child].name).changed += rows.len() as u64;
        }
        for (edge, rows) in doomed.blocked {
            *self.blockers.entry(edge).or_default() += rows.len() as u64;
        }
    }
}
