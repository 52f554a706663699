//! Rows of other tables that point at rows which go: which tables, and, for some rows, everything that goes with
//! them. Reads only. Knows SQLite's foreign keys, which are off on our connections: nothing cascades by itself.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value;

use super::goes::Goes;
use crate::config::Children;
use crate::error::{Error, Reason, Result};
use crate::sqlite::keys::{self, Key, among};
use crate::sqlite::schema::{self, ChildKey, Table, quoted};

/// A table and the columns that name its rows.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) key: Vec<String>,
    /// Rows of it may be deleted.
    pub(super) deleted: bool,
}

/// What happens to a row that points at one which goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// It stands in the way: the rule says `children = "refuse"`.
    Block,
    /// It goes as well: declared CASCADE, or NO ACTION or RESTRICT where the rule says `children = "cascade"`.
    Delete,
    /// These assignments are made, as declared by SET NULL or SET DEFAULT.
    Set(String),
}

/// A foreign key. Tables are numbers in [`Graph::tables`].
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) parent: usize,
    pub(super) child: usize,
    /// Columns of the parent and of the child, quoted.
    pairs: Vec<(String, String)>,
    pub(super) action: Action,
    /// The child's columns lead an index.
    pub(super) indexed: bool,
}

/// The rule's table, number 0, and the tables that its deletes reach.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) tables: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

/// What goes together with some rows of the rule's table.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    /// Rows to delete by table, parents before their children.
    pub(super) deletes: Vec<(usize, Vec<Key>)>,
    /// Rows to change, by foreign key.
    pub(super) changes: Vec<(usize, Vec<Key>)>,
    /// Rows that stand in the way, by table.
    pub(super) blockers: BTreeMap<String, u64>,
    /// How long tables without an index that would help were read from end to end, once each: a single row takes as long.
    pub(super) scanning: Duration,
}

/// Rows that are known to go, so that none is counted twice and a circle of references ends.
pub(super) type Seen = HashSet<(usize, Vec<u8>)>;

impl Graph {
    /// Follows the foreign keys from `root` down: all the way to `cascade`, one step to `refuse`.
    pub(super) fn build(connection: &Connection, root: &Table, children: Children) -> Result<Self> {
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
                let action = action(connection, &key, children)?;
                if action == Action::Delete && !graph.tables[child].deleted {
                    graph.tables[child].deleted = true;
                    to_follow.push_back(child);
                }
                graph.edges.push(Edge {
                    parent,
                    child,
                    pairs: pairs(connection, &parent_name, &key)?,
                    action,
                    indexed: is_indexed(connection, &key)?,
                });
            }
        }
        Ok(graph)
    }

    /// Whether a row can be reached in one way only, so that no two slices of the rule's table reach it.
    pub(super) fn is_tree(&self) -> bool {
        (0..self.tables.len()).all(|table| {
            let ways = self.edges.iter().filter(|edge| edge.child == table).count();
            ways <= usize::from(table != 0)
        })
    }

    /// What goes when `rows` of the rule's table go. `seen` holds what is known to go already.
    pub(super) fn doomed(
        &self,
        connection: &Connection,
        goes: &Goes,
        rows: &[Key],
        seen: &mut Seen,
    ) -> Result<Doomed> {
        let mut doomed = Doomed::default();
        let first: Vec<Key> = rows.iter().filter(|row| seen.insert((0, id(row)))).cloned().collect();
        let mut to_follow = VecDeque::from([(0, first)]);
        while let Some((parent, rows)) = to_follow.pop_front() {
            for (number, edge) in self.edges.iter().enumerate().filter(|(_, edge)| edge.parent == parent) {
                let (mut going, mut changing) = (Vec::new(), Vec::new());
                let old = goes.condition("c.");
                for (child, is_old) in
                    self.pointing_at(connection, edge, &rows, &old, &mut doomed.scanning)?
                {
                    // An old row that points at an old row of its own table goes with it, whatever the rule says.
                    let goes = edge.action == Action::Delete || (edge.child == 0 && is_old);
                    if matches!(edge.action, Action::Set(_)) && !goes {
                        if !seen.contains(&(edge.child, id(&child))) {
                            changing.push(child);
                        }
                    } else if seen.insert((edge.child, id(&child))) {
                        if goes {
                            going.push(child);
                        } else {
                            *doomed.blockers.entry(self.tables[edge.child].name.clone()).or_default() += 1;
                        }
                    }
                }
                if !changing.is_empty() {
                    doomed.changes.push((number, changing));
                }
                if !going.is_empty() {
                    to_follow.push_back((edge.child, going));
                }
            }
            doomed.deletes.push((parent, rows));
        }
        Ok(doomed)
    }

    /// The child rows of `parents`, and whether each is old itself, which only a row of the rule's table can be.
    fn pointing_at(
        &self,
        connection: &Connection,
        edge: &Edge,
        parents: &[Key],
        old: &str,
        scanning: &mut Duration,
    ) -> Result<Vec<(Key, bool)>> {
        let (parent, child) = (&self.tables[edge.parent], &self.tables[edge.child]);
        let key = child.key.iter().map(|key| format!("c.{key}")).collect::<Vec<_>>().join(", ");
        let old = if edge.child == 0 { old } else { "0" };
        // The parent's side comes first: a foreign key compares with the parent column's collation, and with its
        // affinity alone. The first comparison would also convert the parent's text for a number in the child, so
        // that '07' is 7; it is there for the child's index, which the second one cannot use.
        let same = |(p, c): &(String, String)| format!("p.{p} = c.{c} AND p.{p} = +c.{c}");
        let on = edge.pairs.iter().map(same).collect::<Vec<_>>().join(" AND ");
        // Without an index on the child it is read once per statement, and not once per parent row.
        let join = if edge.indexed { "CROSS JOIN" } else { "JOIN" };
        let mut found = Vec::new();
        for (nth, (parents, values)) in keys::chunks(parents).enumerate() {
            let since = Instant::now();
            let mut statement = connection.prepare_cached(&format!(
                "SELECT DISTINCT {key}, {old} FROM {} AS p {join} {} AS c ON {on} WHERE {}",
                quoted(&parent.name),
                quoted(&child.name),
                among("p.", &parent.key, parents),
            ))?;
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

    /// Whether one of the rows that were changed, which pointed at something before, points at nothing now.
    pub(super) fn dangles(&self, connection: &Connection, changes: &[(usize, Vec<Key>)]) -> Result<bool> {
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

fn action(connection: &Connection, key: &ChildKey, children: Children) -> Result<Action> {
    let set = |value: &dyn Fn(&str) -> Result<String>| {
        let all =
            key.columns.iter().map(|(column, _)| Ok(format!("{} = {}", quoted(column), value(column)?)));
        Ok(Action::Set(all.collect::<Result<Vec<_>>>()?.join(", ")))
    };
    match (children, key.on_delete.as_str()) {
        (Children::Refuse, _) => Ok(Action::Block),
        (Children::Cascade, "SET NULL") => set(&|_| Ok(String::from("NULL"))),
        (Children::Cascade, "SET DEFAULT") => set(&|column| {
            let sql = "SELECT dflt_value FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE";
            let default: Option<String> =
                connection.query_row(sql, (&key.child, column), |row| row.get(0))?;
            Ok(default.map_or_else(|| String::from("NULL"), |default| format!("({default})")))
        }),
        (Children::Cascade, _) => Ok(Action::Delete),
    }
}

/// The parent's columns where the key leaves them out are its primary key.
fn pairs(connection: &Connection, parent: &str, key: &ChildKey) -> Result<Vec<(String, String)>> {
    let primary = keys::primary_key(connection, parent)?;
    let pairs = key.columns.iter().enumerate().map(|(number, (child, named))| {
        let named = named.as_ref().or_else(|| primary.get(number));
        named.map(|named| (quoted(named), quoted(child)))
    });
    pairs.collect::<Option<Vec<_>>>().ok_or_else(|| {
        Error::new(
            Reason::Refused,
            format!(
                "a foreign key of {} points at the primary key of {parent}, which has none of that many columns; \
                 correct the schema",
                key.child
            ),
        )
    })
}

fn is_indexed(connection: &Connection, key: &ChildKey) -> Result<bool> {
    let wanted = |name: &String| key.columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
    let leads = |columns: &[Option<String>]| {
        columns.len() >= key.columns.len()
            && columns.iter().take(key.columns.len()).all(|c| c.as_ref().is_some_and(wanted))
    };
    // An INTEGER PRIMARY KEY has no index of its own: it is the table's.
    let primary = keys::primary_key(connection, &key.child)?;
    let by_primary = primary.len() == key.columns.len() && primary.iter().all(wanted);
    let indexes = schema::indexes(connection, &key.child)?;
    Ok(by_primary || indexes.iter().any(|index| !index.partial && leads(&index.columns)))
}

/// A key as bytes that are equal exactly when the keys are.
fn id(key: &[Value]) -> Vec<u8> {
    let mut id = Vec::new();
    for value in key {
        let (kind, bytes) = match value {
            Value::Null => (0, Vec::new()),
            Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
            Value::Real(number) => (2, number.to_bits().to_be_bytes().to_vec()),
            Value::Text(text) => (3, text.clone().into_bytes()),
            Value::Blob(bytes) => (4, bytes.clone()),
        };
        id.push(kind);
        id.extend((bytes.len() as u64).to_be_bytes());
        id.extend(bytes);
    }
    id
}
