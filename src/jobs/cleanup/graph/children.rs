//! Rows of other tables that point at rows which go: which tables, and, for some rows, everything
//! that goes with them. Reads only. Knows SQLite's foreign keys, which are off on our connections:
//! nothing cascades by itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::known::KnownRows;
use super::links::{Action, Edge};
use crate::config::Children;
use crate::error::{Error, Reason, Result};
use crate::jobs::cleanup::retention::Retention;
use crate::jobs::cleanup::rows::rows_of;
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys::{self, Key, among};
use crate::sqlite::look::schema::{self, Table};

/// A table and the columns that name its rows.
#[derive(Debug)]
pub(in crate::jobs::cleanup) struct Node {
    pub(in crate::jobs::cleanup) name: String,
    pub(in crate::jobs::cleanup) key: Vec<String>,
    /// Rows of it may be deleted.
    pub(in crate::jobs::cleanup) deleted: bool,
}

/// The rule's table, number 0, and the tables that its deletes reach.
#[derive(Debug)]
pub(in crate::jobs::cleanup) struct Graph {
    pub(in crate::jobs::cleanup) tables: Vec<Node>,
    pub(in crate::jobs::cleanup) edges: Vec<Edge>,
}

/// How many rows stand in the way, by foreign key.
pub(in crate::jobs::cleanup) type Blockers = BTreeMap<usize, u64>;

/// What goes together with some rows of the rule's table.
#[derive(Debug, Default)]
pub(in crate::jobs::cleanup) struct Deletions {
    /// Rows to delete by table, parents before their children.
    pub(in crate::jobs::cleanup) deletes: Vec<(usize, Vec<Key>)>,
    /// Rows that stay and are to be changed, by foreign key.
    pub(in crate::jobs::cleanup) changes: Vec<(usize, Vec<Key>)>,
    /// Old rows of the rule's table that point at one of these and go later: until then they point
    /// at nothing.
    pub(in crate::jobs::cleanup) loosed: Vec<(usize, Vec<Key>)>,
    /// Rows that stand in the way, by foreign key. Those of the rule's own table are rows that it
    /// keeps.
    pub(in crate::jobs::cleanup) blocked: Vec<(usize, Vec<Key>)>,
    /// Rows that were counted and not gathered, by foreign key.
    pub(in crate::jobs::cleanup) counted: Vec<(usize, u64)>,
    /// How long tables without an index that would help were read from end to end, once each: a
    /// single row takes as long.
    pub(in crate::jobs::cleanup) scanning: Duration,
}

/// Whether the rows themselves are wanted, or how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jobs::cleanup) enum Wanted {
    Rows,
    /// Those of tables from which nothing leads on, and to which one foreign key leads, are counted
    /// by SQLite alone.
    Numbers,
}

impl Deletions {
    /// How many rows are held in memory.
    pub(in crate::jobs::cleanup) fn gathered(&self) -> usize {
        let all = [&self.deletes, &self.changes, &self.loosed, &self.blocked];
        all.into_iter().flatten().map(|(_, rows)| rows.len()).sum()
    }
}

impl Graph {
    /// Follows the foreign keys from `root` down: all the way to `cascade`, one step to `refuse`
    /// and to `unlink`.
    pub(in crate::jobs::cleanup) fn build(
        connection: &Connection,
        root: &Table,
        children: Children,
    ) -> Result<Self> {
        let tables = schema::tables(connection)?;
        let mut graph = Self {
            tables: vec![Node { name: root.name.clone(), key: keys::key(connection, root)?, deleted: true }],
            edges: Vec::new(),
        };
        let mut to_follow = VecDeque::from([0]);
        while let Some(parent) = to_follow.pop_front() {
            let parent_name = graph.tables[parent].name.clone();
            for key in schema::child_keys(connection, &parent_name)? {
                let Some(table) = tables.iter().find(|table| table.name == key.child) else { continue };
                let known = graph.tables.iter().position(|node| node.name == key.child);
                let child = if let Some(known) = known {
                    known
                } else {
                    let node_key = keys::key(connection, table)?;
                    graph.tables.push(Node { name: key.child.clone(), key: node_key, deleted: false });
                    graph.tables.len() - 1
                };
                let edge = Edge::new(connection, (parent, &parent_name), child, &key, children)?;
                if edge.action == Action::Delete && !graph.tables[child].deleted {
                    graph.tables[child].deleted = true;
                    to_follow.push_back(child);
                }
                graph.edges.push(edge);
            }
        }
        Ok(graph)
    }

    /// The same of a table by its name.
    pub(in crate::jobs::cleanup) fn of(
        connection: &Connection,
        root: &str,
        children: Children,
    ) -> Result<Self> {
        let table = schema::tables(connection)?.into_iter().find(|table| table.name == root);
        let table = table.ok_or_else(|| Error::new(Reason::NotFound, format!("there is no table {root}")))?;
        Self::build(connection, &table, children)
    }

    /// How many rows stand in the way, in words; those of the rule's own table are such as it
    /// keeps.
    pub(in crate::jobs::cleanup) fn in_words(&self, blockers: &Blockers) -> String {
        let all: Vec<_> = blockers
            .iter()
            .map(|(edge, rows)| {
                let edge = &self.edges[*edge];
                let kept = if edge.child == 0 { " within retention" } else { "" };
                format!("{}{kept} ({})", rows_of(*rows, &self.tables[edge.child].name), edge.name)
            })
            .collect();
        let verb = if blockers.values().sum::<u64>() == 1 { "points" } else { "point" };
        format!("{} {verb} at rows that would go", all.join(" and "))
    }

    /// Why some of them cannot be unlinked.
    pub(in crate::jobs::cleanup) fn obstacles<'a>(
        &'a self,
        blockers: &'a Blockers,
    ) -> impl Iterator<Item = &'a str> {
        blockers.keys().filter_map(|edge| match &self.edges[*edge].action {
            Action::Block(why) => why.as_deref(),
            _ => None,
        })
    }

    /// In how many ways a row of a table can be reached. The rule's own table has one by the rule.
    fn ways_to(&self, table: usize) -> usize {
        self.edges.iter().filter(|edge| edge.child == table).count() + usize::from(table == 0)
    }

    /// Rows of its tables that are known to go: none yet.
    pub(in crate::jobs::cleanup) fn known_rows(&self) -> KnownRows {
        KnownRows::new((0..self.tables.len()).map(|table| self.ways_to(table) > 1).collect())
    }

    /// Whether nothing leads on from a foreign key's child, and nothing else leads there.
    fn ends_at(&self, edge: &Edge) -> bool {
        self.ways_to(edge.child) == 1 && !self.edges.iter().any(|next| next.parent == edge.child)
    }

    /// What goes when `rows` of the rule's table go. `seen` holds what is known to go already.
    pub(in crate::jobs::cleanup) fn doomed(
        &self,
        connection: &Connection,
        goes: &Retention,
        rows: &[Key],
        wanted: Wanted,
        seen: &mut KnownRows,
    ) -> Result<Deletions> {
        let mut doomed = Deletions::default();
        let mut first = Vec::new();
        for row in rows {
            if seen.insert(0, row)? {
                first.push(row.clone());
            }
        }
        let old = goes.condition("c.");
        let mut to_follow = VecDeque::from([(0, first)]);
        while let Some((parent, rows)) = to_follow.pop_front() {
            for (number, edge) in self.edges.iter().enumerate().filter(|(_, edge)| edge.parent == parent) {
                if wanted == Wanted::Numbers && self.ends_at(edge) {
                    doomed.counted.push((number, self.number_pointing_at(connection, edge, &rows)?));
                    continue;
                }
                let (mut going, mut changing, mut loosed, mut blocked) =
                    <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
                for (child, is_old) in
                    self.pointing_at(connection, edge, &rows, &old, &mut doomed.scanning)?
                {
                    if seen.contains(edge.child, &child)? {
                        continue;
                    }
                    match edge.action {
                        Action::Set(_) if !is_old => changing.push(child),
                        Action::Set(_) if edge.is_loosed => loosed.push(child),
                        // An old row that points at an old row of its own table goes with it,
                        // whatever the rule says.
                        _ if is_old || edge.action == Action::Delete => {
                            seen.insert(edge.child, &child)?;
                            going.push(child);
                        }
                        _ => blocked.push(child),
                    }
                }
                for (all, some) in [
                    (&mut doomed.changes, changing),
                    (&mut doomed.loosed, loosed),
                    (&mut doomed.blocked, blocked),
                ] {
                    if !some.is_empty() {
                        all.push((number, some));
                    }
                }
                if !going.is_empty() {
                    to_follow.push_back((edge.child, going));
                }
            }
            doomed.deletes.push((parent, rows));
        }
        // What goes by one key need not be unlinked by another one, and is in nobody's way.
        for links in [&mut doomed.changes, &mut doomed.loosed, &mut doomed.blocked] {
            for (edge, rows) in links.iter_mut() {
                let mut staying = Vec::with_capacity(rows.len());
                for row in rows.drain(..) {
                    if !seen.contains(self.edges[*edge].child, &row)? {
                        staying.push(row);
                    }
                }
                *rows = staying;
            }
            links.retain(|(_, rows)| !rows.is_empty());
        }
        Ok(doomed)
    }

    /// What joins the rows of a foreign key's parent to those of its child.
    fn join(&self, edge: &Edge, parents: usize) -> String {
        let (parent, child) = (&self.tables[edge.parent], &self.tables[edge.child]);
        // The parent's side comes first: a foreign key compares with the parent column's collation,
        // and with its affinity alone. The first comparison would also convert the parent's text
        // for a number in the child, so that '07' is 7; it is there for the child's index, which
        // the second one cannot use.
        let same = |(p, c): &(String, String)| format!("p.{p} = c.{c} AND p.{p} = +c.{c}");
        let on = edge.pairs.iter().map(same).collect::<Vec<_>>().join(" AND ");
        // Without an index on the child it is read once per statement, and not once per parent row.
        let join = if edge.indexed { "CROSS JOIN" } else { "JOIN" };
        format!(
            "{} AS p {join} {} AS c ON {on} WHERE {}",
            quoted(&parent.name),
            quoted(&child.name),
            among("p.", &parent.key, parents)
        )
    }

    /// How many rows of the child point at `parents`.
    fn number_pointing_at(&self, connection: &Connection, edge: &Edge, parents: &[Key]) -> Result<u64> {
        let key = &self.tables[edge.child].key;
        let key = key.iter().map(|key| format!("c.{key}")).collect::<Vec<_>>().join(", ");
        let mut found = 0;
        for (parents, values) in keys::chunks(parents) {
            let sql =
                format!("SELECT count(*) FROM (SELECT DISTINCT {key} FROM {})", self.join(edge, parents));
            let mut statement = connection.prepare_cached(&sql)?;
            found += statement.query_row(rusqlite::params_from_iter(values), |row| row.get::<_, u64>(0))?;
        }
        Ok(found)
    }

    /// The child rows of `parents`, and whether each is old itself, which only a row of the rule's
    /// table can be.
    fn pointing_at(
        &self,
        connection: &Connection,
        edge: &Edge,
        parents: &[Key],
        old: &str,
        scanning: &mut Duration,
    ) -> Result<Vec<(Key, bool)>> {
        let child = &self.tables[edge.child];
        let key = child.key.iter().map(|key| format!("c.{key}")).collect::<Vec<_>>().join(", ");
        let old = if edge.child == 0 { old } else { "0" };
        let mut found = Vec::new();
        for (nth, (parents, values)) in keys::chunks(parents).enumerate() {
            let since = Instant::now();
            let sql = format!("SELECT DISTINCT {key}, {old} FROM {}", self.join(edge, parents));
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let width = child.key.len();
                let key = (0..width).map(|i| row.get(i)).collect::<rusqlite::Result<_>>()?;
                found.push((key, row.get(width)?));
            }
            if nth == 0 && !edge.indexed {
                *scanning += since.elapsed();
            }
        }
        Ok(found)
    }

    /// Whether one of the rows that were changed, which pointed at something before, points at
    /// nothing now.
    pub(in crate::jobs::cleanup) fn dangles(
        &self,
        connection: &Connection,
        changes: &[(usize, Vec<Key>)],
    ) -> Result<bool> {
        for (edge, rows) in changes {
            let edge = &self.edges[*edge];
            let (parent, child) = (&self.tables[edge.parent], &self.tables[edge.child]);
            let set = edge.pairs.iter().map(|(_, c)| format!("c.{c} IS NOT NULL")).collect::<Vec<_>>();
            let same = edge.pairs.iter().map(|(p, c)| format!("p.{p} = +c.{c}")).collect::<Vec<_>>();
            for (number, values) in keys::chunks(rows) {
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT 1 FROM {} AS c WHERE {} AND {} AND NOT EXISTS (SELECT 1 FROM {} AS p WHERE {})",
                    quoted(&child.name),
                    among("c.", &child.key, number),
                    set.join(" AND "),
                    quoted(&parent.name),
                    same.join(" AND "),
                ))?;
                if statement.exists(rusqlite::params_from_iter(values))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
