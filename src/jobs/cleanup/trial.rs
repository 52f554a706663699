//! What a rule's statements come to on a few of the rows that would go, tried in a database in
//! memory that has the schema and those rows: a trigger that SQLite compiles and cannot run, and a
//! key that may not become NULL, are refusals of the preview as of the run. Must never judge by
//! what is not there, which is nearly everything: a trigger may look for other rows.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::Value;
use rusqlite::{Connection, ffi, params_from_iter};

use super::graph::children::{Deletions, Graph, Wanted};
use super::graph::links::Action;
use super::plan::Plan;
use super::walk::{self, Extent, Position};
use crate::error::{Error, Reason, Result};
use crate::jobs::reading::Reader;
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys::{Key, among};
use crate::sqlite::look::{names, schema};
use crate::sqlite::open;

/// Old rows of the rule's table that are tried, and of what hangs on them, so many of each table.
const ROWS: usize = 3;

/// Virtual machine instructions after which a statement is given up, and bytes of a value: the
/// schema is not trusted (HAZARDS H27).
const STEPS: i32 = 2_000_000;
const LONGEST_VALUE: i32 = 8 << 20;

/// Refuses where a statement of the rule fails on its first rows, whatever else is in the database.
pub(super) fn refuse(reader: &Reader<'_>, plan: &Plan) -> Result<()> {
    let sets = plan.graph.edges.iter().any(|edge| matches!(edge.action, Action::Set(_)));
    if plan.triggers.names.is_empty() && !sets {
        return Ok(());
    }
    let sample = reader.read(|c| {
        let read = c.transaction()?;
        Sample::take(&read, plan)
    })?;
    // What cannot be copied cannot be tried, and is met by the run.
    let Ok(trial) = Trial::new(&sample) else { return Ok(()) };
    match trial.fault(&plan.graph, &sample.doomed) {
        Some(fault) => Err(Error::new(Reason::Refused, fault)),
        None => Ok(()),
    }
}

/// What is copied.
struct Sample {
    /// Texts that make the tables, virtual ones, indexes and views, in this order.
    schema: Vec<String>,
    triggers: Vec<String>,
    /// Statements that insert one row, with its values.
    rows: Vec<(String, Vec<Value>)>,
    doomed: Deletions,
}

impl Sample {
    fn take(connection: &Connection, plan: &Plan) -> Result<Self> {
        let graph = &plan.graph;
        let mut slice = walk::slice(connection, plan, Extent::Old, &Position::of_oldest(plan), ROWS)?;
        // What the index has before the first date is passed over.
        while slice.old.is_empty()
            && let Some(from @ Position::At(_)) = slice.next.take()
        {
            slice = walk::slice(connection, plan, Extent::Old, &from, ROWS)?;
        }
        let mut seen = graph.known_rows();
        let mut doomed = graph.doomed(connection, &plan.goes, &slice.old, Wanted::Rows, &mut seen)?;
        for (_, rows) in doomed.deletes.iter_mut().chain(&mut doomed.changes).chain(&mut doomed.loosed) {
            rows.truncate(ROWS);
        }
        let mut rows = Vec::new();
        let child = |edge: &usize| graph.edges[*edge].child;
        let changed = doomed.changes.iter().map(|(edge, rows)| (child(edge), rows));
        for (table, keys) in doomed.deletes.iter().map(|(table, rows)| (*table, rows)).chain(changed) {
            for key in keys {
                rows.extend(insertion(connection, graph, table, key)?);
            }
        }
        let texts = |which: &str| -> Result<Vec<String>> {
            let sql =
                format!("SELECT t.sql FROM main.sqlite_schema AS t WHERE t.sql IS NOT NULL AND {which}");
            let mut statement = connection.prepare(&sql)?;
            // A text that is none makes nothing here.
            let rows = statement.query_map([], |row| Ok(row.get_ref(0)?.as_str().ok().map(str::to_owned)))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let virtual_tables = texts("t.type = 'table' AND t.rootpage = 0")?;
        // A virtual table makes its own for itself.
        let mut schema = texts(schema::ORDINARY)?;
        schema.extend(virtual_tables);
        schema.extend(texts("t.type = 'index'")?);
        schema.extend(texts("t.type = 'view'")?);
        Ok(Self { schema, triggers: texts("t.type = 'trigger'")?, rows, doomed })
    }
}

/// The statement that makes a row anew, with its values; none where it is gone or
/// cannot be copied.
fn insertion(
    connection: &Connection,
    graph: &Graph,
    table: usize,
    key: &Key,
) -> Result<Option<(String, Vec<Value>)>> {
    let node = &graph.tables[table];
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0";
    let columns = names::all(connection, sql, [&node.name])?;
    let mut columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    // The rowid, where no column is it.
    columns.extend(node.key.iter().filter(|key| !key.starts_with('"')).cloned());
    let (list, name) = (columns.join(", "), quoted(&node.name));
    let sql = format!("SELECT {list} FROM main.{name} WHERE {}", among("", &node.key, 1));
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query(params_from_iter(key))?;
    let Some(row) = found.next()? else { return Ok(None) };
    // A text that is none cannot be carried over.
    let values = (0..columns.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>();
    let Ok(values) = values else { return Ok(None) };
    let places = vec!["?"; columns.len()].join(", ");
    Ok(Some((format!("INSERT OR IGNORE INTO {name} ({list}) VALUES ({places})"), values)))
}

struct Trial<'s> {
    connection: Connection,
    sample: &'s Sample,
}

impl<'s> Trial<'s> {
    /// What cannot be made is left out, and what needs it is not tried.
    fn new(sample: &'s Sample) -> Result<Self> {
        let connection = open::in_memory()?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST_VALUE)?;
        connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Attach { .. } => Authorization::Deny,
            _ => Authorization::Allow,
        }))?;
        connection.progress_handler(STEPS, Some(|| true))?;
        for sql in &sample.schema {
            let _ = connection.execute(sql, []);
        }
        let this = Self { connection, sample };
        this.fill()?;
        Ok(this)
    }

    fn fill(&self) -> Result<()> {
        for (sql, values) in &self.sample.rows {
            self.connection.execute(sql, params_from_iter(values))?;
        }
        Ok(())
    }

    /// What fails, in words.
    fn fault(&self, graph: &Graph, doomed: &Deletions) -> Option<String> {
        // Without triggers first: what a row may not be is no matter of other rows.
        for (edge, rows) in &doomed.changes {
            let key = &graph.edges[*edge].name;
            if let Some(cause) = self.change(graph, *edge, rows).filter(is_of_the_row) {
                return Some(format!("{key} cannot be changed: {}", said(cause)));
            }
        }
        let tables = doomed.deletes.iter().map(|(table, _)| *table);
        let changed = doomed.changes.iter().map(|(edge, _)| graph.edges[*edge].child);
        for table in tables.chain(changed) {
            self.connection
                .execute(&format!("DELETE FROM {}", quoted(&graph.tables[table].name)), [])
                .ok()?;
        }
        for sql in &self.sample.triggers {
            let _ = self.connection.execute(sql, []);
        }
        // By the application's own triggers, which may need what is not here.
        self.fill().ok()?;
        let fails = |table: usize, cause| {
            format!(
                "the triggers of {} cannot be run: {}. They fail for the application as well, whenever it does the same; \
                 correct them",
                graph.tables[table].name,
                said(cause)
            )
        };
        for (edge, rows) in &doomed.changes {
            if let Some(cause) = self.change(graph, *edge, rows).filter(is_of_the_statement) {
                return Some(fails(graph.edges[*edge].child, cause));
            }
        }
        for (table, rows) in doomed.deletes.iter().rev() {
            if let Some(cause) = self.delete(graph, *table, rows).filter(is_of_the_statement) {
                return Some(fails(*table, cause));
            }
        }
        None
    }

    fn change(&self, graph: &Graph, edge: usize, rows: &[Key]) -> Option<rusqlite::Error> {
        let Action::Set(set) = &graph.edges[edge].action else { return None };
        let node = &graph.tables[graph.edges[edge].child];
        self.run(&format!("UPDATE {} SET {set} WHERE {}", quoted(&node.name), among("", &node.key, 1)), rows)
    }

    fn delete(&self, graph: &Graph, table: usize, rows: &[Key]) -> Option<rusqlite::Error> {
        let node = &graph.tables[table];
        self.run(&format!("DELETE FROM {} WHERE {}", quoted(&node.name), among("", &node.key, 1)), rows)
    }

    /// The error with which it fails for one of the rows. One that cannot even be compiled here
    /// lacks what could not be copied.
    fn run(&self, sql: &str, rows: &[Key]) -> Option<rusqlite::Error> {
        let mut statement = self.connection.prepare(sql).ok()?;
        rows.iter().find_map(|row| statement.execute(params_from_iter(row)).err())
    }
}

/// Whether the row itself may not be so.
fn is_of_the_row(cause: &rusqlite::Error) -> bool {
    let code = cause.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_CONSTRAINT_NOTNULL | ffi::SQLITE_CONSTRAINT_CHECK))
}

/// Whether a statement was refused for what it is, and not for the rows that it met.
fn is_of_the_statement(cause: &rusqlite::Error) -> bool {
    cause.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_ERROR)
}

fn said(cause: rusqlite::Error) -> String {
    Error::from(cause).message
}
