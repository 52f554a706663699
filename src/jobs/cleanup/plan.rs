//! One rule, checked against the database before anything is deleted: the table and its column, how the column
//! tells the time, what else would be touched, and which triggers would fire. Reads only.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::children::{Action, Graph};
use super::dates::{self, Age, FORMATS};
use crate::config::{DateFormat, Rule, Triggers};
use crate::error::{Error, Reason, Result};
use crate::sqlite::keys::{self, among};
use crate::sqlite::schema::{self, quoted};

/// Rows taken from each end of the table to find out how the column tells the time.
const SAMPLE: usize = 50;

/// A rule that can be carried out.
#[derive(Debug)]
pub(super) struct Plan {
    /// Names as the schema writes them.
    pub(super) table: String,
    pub(super) column: String,
    /// What names a row of the table, quoted.
    pub(super) key: Vec<String>,
    /// The index by which old rows are found.
    pub(super) index: Option<String>,
    pub(super) age: Age,
    pub(super) graph: Graph,
    /// Triggers that will fire, as `table.trigger`; the rule allows them.
    pub(super) triggers: Vec<String>,
    /// A batch is not begun when the schema is another one by then.
    pub(super) schema_version: i64,
    /// What the operator may do to make it cheaper.
    pub(super) advice: Vec<String>,
}

impl Plan {
    /// Checks a rule. Errors say what stands in the way and what to do; nothing has been changed then.
    pub(super) fn make(connection: &Connection, rule: &Rule, started: DateTime<Utc>) -> Result<Self> {
        let schema_version = schema_version(connection)?;
        let same = |name: &str| name.eq_ignore_ascii_case(&rule.table);
        let tables = schema::tables(connection)?;
        let table = tables.into_iter().find(|table| same(&table.name)).ok_or_else(|| {
            let text = "there is no such table; a rule cannot name a view or a virtual table";
            Error::new(Reason::NotFound, text)
        })?;
        let columns = keys::all_columns(connection, &table.name)?;
        let column = columns
            .into_iter()
            .find(|c| c.eq_ignore_ascii_case(&rule.column))
            .ok_or_else(|| Error::new(Reason::NotFound, format!("it has no column {}", rule.column)))?;
        let cutoff = TimeDelta::from_std(rule.keep).ok().and_then(|keep| started.checked_sub_signed(keep));
        let cutoff = cutoff.ok_or_else(|| {
            Error::new(Reason::Refused, "`keep` reaches back before all dates; set a shorter one")
        })?;
        let graph = Graph::build(connection, &table, rule.children)?;
        let key = graph.tables[0].key.clone();
        let index = keys::index_in_order_of(connection, &table.name, &column)?;
        let format = match rule.format {
            Some(format) => format,
            None => find_format(connection, &table.name, &column, &key, index.as_deref())?,
        };
        let mut plan = Self {
            advice: advice(&table.name, &column, index.as_deref(), &graph),
            age: Age { format, cutoff },
            table: table.name,
            column,
            key,
            index,
            graph,
            triggers: Vec::new(),
            schema_version,
        };
        plan.triggers = triggers(connection, &plan.graph)?;
        if rule.triggers == Triggers::Refuse && !plan.triggers.is_empty() {
            return Err(Error::new(
                Reason::Refused,
                format!(
                    "deleting would fire the application's triggers {}; if they may run, set triggers = \"allow\" \
                     in the rule",
                    plan.triggers.join(", ")
                ),
            ));
        }
        Ok(plan)
    }
}

/// SQLite counts it up with every change of the schema.
pub(super) fn schema_version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "schema_version", |row| row.get(0))?)
}

/// The one format of which all dates at both ends of the table, and at both ends of the column's index, are.
fn find_format(
    connection: &Connection,
    table: &str,
    column: &str,
    key: &[String],
    index: Option<&str>,
) -> Result<DateFormat> {
    let (from, column) = (format!("{} AS t", quoted(table)), format!("t.{}", quoted(column)));
    let mut ends = Vec::new();
    for direction in ["ASC", "DESC"] {
        let order = key.iter().map(|key| format!("t.{key} {direction}")).collect::<Vec<_>>().join(", ");
        ends.push(format!(
            "SELECT * FROM (SELECT {column} AS d FROM {from} ORDER BY {order} LIMIT {SAMPLE})"
        ));
        if let Some(index) = index {
            ends.push(format!(
                "SELECT * FROM (SELECT {column} AS d FROM {from} INDEXED BY {} WHERE {column} IS NOT NULL \
                 ORDER BY {column} COLLATE BINARY {direction} LIMIT {SAMPLE})",
                quoted(index)
            ));
        }
    }
    let each = FORMATS.map(|format| format!("total({})", dates::readable(format, "d"))).join(", ");
    let sql = format!("SELECT {each}, count(d), count(*) FROM ({})", ends.join(" UNION ALL "));
    let (counts, dates, rows) = connection.query_row(&sql, [], |row| {
        let counts = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        Ok((counts, row.get::<_, f64>(4)?, row.get::<_, i64>(5)?))
    })?;
    // Nothing will be found old in an empty table, in whatever format.
    if rows == 0 {
        return Ok(DateFormat::Iso);
    }
    let found = FORMATS.iter().zip(counts).find(|&(_, count): &(_, f64)| dates > 0.0 && count >= dates);
    found.map(|(format, _)| *format).ok_or_else(|| {
        let seen: Vec<_> = FORMATS
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0.0)
            .map(|(format, count)| format!("{count} {}", dates::word(*format)))
            .collect();
        let seen = match seen.as_slice() {
            [] => String::from("none is a date that can be read"),
            some => format!("{}, the others none of these", some.join(", ")),
        };
        Error::new(
            Reason::Refused,
            format!(
                "cannot tell how {column} tells the time: of {dates} values looked at, {seen}; set format = \"iso\", \
                 \"unix_seconds\", \"unix_milliseconds\" or \"julian_day\" in the rule; values that are no such date \
                 are never deleted"
            ),
        )
    })
}

/// The triggers that the rule's statements fire. EXPLAIN compiles them: a trigger, a check or an index that needs
/// a function or a collation which we lack fails here, and not in the middle.
fn triggers(connection: &Connection, graph: &Graph) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for node in graph.tables.iter().filter(|node| node.deleted) {
        let delete = format!("DELETE FROM {} WHERE {}", quoted(&node.name), among("", &node.key, 1));
        if fires(connection, &delete, &node.name)? {
            let found = schema::delete_triggers(connection, &node.name)?;
            names.extend(found.iter().map(|trigger| format!("{}.{}", node.name, trigger.name)));
        }
    }
    for edge in &graph.edges {
        let (Action::Set(set), child) = (&edge.action, &graph.tables[edge.child]) else { continue };
        let update = format!("UPDATE {} SET {set} WHERE {}", quoted(&child.name), among("", &child.key, 1));
        if fires(connection, &update, &child.name)? {
            names.push(format!("{} (on UPDATE)", child.name));
        }
    }
    Ok(names)
}

fn fires(connection: &Connection, sql: &str, table: &str) -> Result<bool> {
    let explain = || -> rusqlite::Result<bool> {
        let mut statement = connection.prepare(&format!("EXPLAIN {sql}"))?;
        // Its parameters stay NULL: EXPLAIN runs nothing.
        let mut opcodes = statement.raw_query();
        while let Some(row) = opcodes.next()? {
            if row.get::<_, String>("opcode")? == "Program" {
                return Ok(true);
            }
        }
        Ok(false)
    };
    explain().map_err(|cause| {
        let error = Error::from(cause);
        match error.reason {
            Reason::Unsupported => error.context(format!(
                "a trigger, check or index of {table} needs what only the application has, so that litekeeper cannot \
                 delete there"
            )),
            _ => error.context(format!("rows of {table} cannot be deleted")),
        }
    })
}

fn advice(table: &str, column: &str, index: Option<&str>, graph: &Graph) -> Vec<String> {
    let mut advice = Vec::new();
    if index.is_none() {
        advice.push(format!(
            "{table} is read from end to end; an index on {column} would spare that: CREATE INDEX {} ON {}({})",
            quoted(&format!("idx_{table}_{column}")),
            quoted(table),
            quoted(column)
        ));
    }
    for edge in graph.edges.iter().filter(|edge| !edge.indexed) {
        let (child, parent) = (&graph.tables[edge.child].name, &graph.tables[edge.parent].name);
        advice.push(format!(
            "{child} is read from end to end for each batch; an index on its columns that point at {parent} would \
             spare that"
        ));
    }
    advice
}
