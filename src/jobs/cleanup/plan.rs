//! One rule, checked against the database before anything is deleted: the table and its column, how
//! the column tells the time, what else would be touched, and which triggers would fire. Reads
//! only.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::dates::{self, Age, Sample};
use super::graph::children::Graph;
use super::graph::links::Action;
use super::graph::triggers::{self, TriggerEffects};
use super::retention::{Column, Retention};
use crate::config::{DateFormat, Rule, Triggers};
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys::{self, Term};
use crate::sqlite::look::schema;

/// A rule that can be carried out.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its name as the schema writes it.
    pub(super) table: String,
    /// The index by which old rows are found.
    pub(super) index: Option<String>,
    /// In which order they are gone through.
    pub(super) order: Vec<Term>,
    /// Values of the column.
    pub(super) sample: Option<Sample>,
    /// Which rows go.
    pub(super) goes: Retention,
    /// For people: why those.
    pub(super) why: Vec<String>,
    pub(super) graph: Graph,
    /// Triggers that will fire; the rule allows them.
    pub(super) triggers: TriggerEffects,
    /// A batch is not begun when the schema is another one by then.
    pub(super) schema_version: i64,
    /// What the operator may do to make it cheaper.
    pub(super) advice: Vec<String>,
}

impl Plan {
    /// Checks a rule. Errors say what stands in the way and what to do; nothing has been changed
    /// then.
    pub(super) fn make(connection: &Connection, rule: &Rule, started: DateTime<Utc>) -> Result<Self> {
        let schema_version = schema_version(connection)?;
        let same = |name: &str| name.eq_ignore_ascii_case(&rule.table);
        let tables = schema::tables(connection)?;
        let table = tables.into_iter().find(|table| same(&table.name)).ok_or_else(|| {
            let text = "there is no such table; a rule cannot name a view or a virtual table";
            Error::new(Reason::NotFound, text)
        })?;
        let column = rule.column.as_ref().map(|name| column(connection, &table.name, name)).transpose()?;
        let graph = Graph::build(connection, &table, rule.children)?;
        let key = graph.tables[0].key.clone();
        let index = match &column {
            Some(column) => keys::index_in_order_of(connection, &table.name, column)?,
            None => None,
        };
        let sample = column
            .as_ref()
            .map(|column| Sample::take(connection, &table.name, column, &key, index.as_deref()));
        let sample = sample.transpose()?;
        let column = match (column, &sample) {
            (Some(name), Some(sample)) => Some(Column { name, format: format(rule, sample, started)? }),
            _ => None,
        };
        let order = keys::order_of(connection, &table, index.as_deref(), &key)?;
        let age = rule.keep.zip(column.as_ref()).map(|(keep, column)| {
            let keep = TimeDelta::from_std(keep).ok();
            let cutoff = keep.and_then(|keep| started.checked_sub_signed(keep)).ok_or_else(|| {
                Error::new(Reason::Refused, "`keep` reaches back before all dates; set a shorter one")
            })?;
            Ok::<_, Error>(Age { format: column.format, cutoff, zone: rule.timezone })
        });
        let age = age.transpose()?;
        let is_ordered = match &column {
            Some(Column { name, .. }) => index.is_some() || keys::is_in_order_of(connection, &table, name)?,
            None => true,
        };
        let plan = Self {
            advice: advice(&table.name, column.as_ref().filter(|_| !is_ordered), &graph),
            why: age.iter().map(|age| format!("older than {}", shown(age))).collect(),
            goes: Retention { column, key, age, newest: None },
            table: table.name,
            index,
            order,
            sample,
            triggers: triggers::fired(connection, &graph)?,
            graph,
            schema_version,
        };
        if rule.triggers == Triggers::Refuse && !plan.triggers.names.is_empty() {
            return Err(Error::new(
                Reason::Refused,
                format!(
                    "deleting would fire the application's triggers {}; if they may run, set triggers = \"allow\" \
                     in the rule",
                    plan.triggers.names.join(", ")
                ),
            ));
        }
        Ok(plan)
    }

    /// Whether nothing but the rows themselves is concerned.
    pub(super) fn is_plain(&self) -> bool {
        self.graph.edges.is_empty() && self.triggers.names.is_empty()
    }

    /// Leaves only so many of the newest rows, `why` as an operator would say it.
    pub(super) fn leave_newest(&mut self, connection: &Connection, rows: u64, why: String) -> Result<()> {
        self.goes.newest = self.row_behind(connection, rows)?;
        self.why.push(why);
        Ok(())
    }

    /// The values, in the order from old to new, of the row that so many are newer than.
    fn row_behind(&self, connection: &Connection, rows: u64) -> Result<Option<Vec<Value>>> {
        dates::install(connection)?;
        let order = self.goes.order("t.");
        let by =
            self.index.as_ref().map(|index| format!(" INDEXED BY {}", quoted(index))).unwrap_or_default();
        let sql = format!(
            "SELECT {} FROM {} AS t{by} WHERE {} ORDER BY {} LIMIT 1 OFFSET ?1",
            order.join(", "),
            quoted(&self.table),
            self.goes.readable("t."),
            order.iter().map(|term| format!("{term} DESC")).collect::<Vec<_>>().join(", "),
        );
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query([rows])?;
        let Some(row) = found.next()? else { return Ok(None) };
        Ok(Some((0..order.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?))
    }
}

/// The cutoff by the clock that the column's values were written by.
fn shown(age: &Age) -> String {
    let zone = if age.format.is_by_a_clock() { age.zone } else { crate::zone::Zone::UTC };
    format!("{} {zone}", age.cutoff.with_timezone(&zone).format("%Y-%m-%d %H:%M"))
}

/// The column's name as the schema writes it.
fn column(connection: &Connection, table: &str, name: &str) -> Result<String> {
    let mut columns = keys::all_columns(connection, table)?.into_iter();
    columns
        .find(|column| column.eq_ignore_ascii_case(name))
        .ok_or_else(|| Error::new(Reason::NotFound, format!("it has no column {name}")))
}

/// SQLite counts it up with every change of the schema.
pub(super) fn schema_version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "schema_version", |row| row.get(0))?)
}

/// How the column tells the time: as the rule says, unless another format is right beyond doubt, or
/// as it is found out.
fn format(rule: &Rule, sample: &Sample, now: DateTime<Utc>) -> Result<DateFormat> {
    let Some(format) = rule.format else { return sample.format(now) };
    sample.better(format, now).map_or(Ok(format), Err)
}

/// `column` is the one that the rows are searched by, where nothing has them in its order.
fn advice(table: &str, column: Option<&Column>, graph: &Graph) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(Column { name: column, .. }) = column {
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
    for edge in &graph.edges {
        if let Action::Block(Some(why)) = &edge.action {
            advice.push(format!("{why}: such rows end the rule before it removes anything"));
        }
    }
    advice
}
