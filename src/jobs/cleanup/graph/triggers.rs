//! Which of the application's triggers a rule's statements fire, and whether the full-text tables
//! to which those write in turn may be written to. Fires none: SQLite compiles the statements, and
//! tells while it does so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::children::Graph;
use super::links::Action;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::sql::quoting::quoted;
use crate::sqlite::checks::fulltext::{self, Agreement};
use crate::sqlite::look::keys::among;
use crate::sqlite::look::{names, refused, schema};

/// What the statements of a rule set off.
#[derive(Debug, Default)]
pub(in crate::jobs::cleanup) struct TriggerEffects {
    /// The triggers, as `table.trigger`.
    pub(in crate::jobs::cleanup) names: Vec<String>,
    /// The full-text tables that they write to, and whether only to remove.
    pub(in crate::jobs::cleanup) fulltext: BTreeMap<String, bool>,
}

/// Tables that a statement writes to, those of its triggers included, and whether it only deletes
/// there.
type WrittenTables = BTreeMap<String, bool>;

/// EXPLAIN compiles the statements: a trigger, a check or an index that needs a function or a
/// collation which we lack fails here, and not in the middle.
pub(in crate::jobs::cleanup) fn fired(connection: &Connection, graph: &Graph) -> Result<TriggerEffects> {
    are_spoken_of(connection, graph)?;
    let (mut names, mut written) = (Vec::new(), WrittenTables::new());
    for node in graph.tables.iter().filter(|node| node.deleted) {
        let delete = format!("DELETE FROM {} WHERE {}", quoted(&node.name), among("", &node.key, 1));
        if fires(connection, &delete, &node.name, "deleted", &mut written)? {
            let found = schema::delete_triggers(connection, &node.name)?;
            names.extend(found.iter().map(|trigger| format!("{}.{}", node.name, trigger.name)));
        }
    }
    for edge in &graph.edges {
        let (Action::Set(set), child) = (&edge.action, &graph.tables[edge.child]) else { continue };
        let update = format!("UPDATE {} SET {set} WHERE {}", quoted(&child.name), among("", &child.key, 1));
        if fires(connection, &update, &child.name, "changed", &mut written)? {
            names.push(format!("{} (on UPDATE)", child.name));
        }
    }
    are_read(connection, graph, &written)?;
    let mut fulltext = BTreeMap::new();
    for (table, only_deletes) in written {
        if fulltext::is_fulltext(connection, &table)? {
            fulltext.insert(table, only_deletes);
        }
    }
    Ok(TriggerEffects { names, fulltext })
}

/// Refuses where a trigger may be fired, and the name or the text of one is not UTF-8: what it
/// writes to cannot be asked for.
fn are_spoken_of(connection: &Connection, graph: &Graph) -> Result<()> {
    let mut all =
        connection.prepare("SELECT tbl_name, name, sql FROM main.sqlite_schema WHERE type = 'trigger'")?;
    let (mut rows, mut may_fire, mut foreign) = (all.query([])?, false, None);
    while let Some(row) = rows.next()? {
        let table = names::shown(row, 0)?;
        may_fire |= graph.tables.iter().any(|node| node.name.eq_ignore_ascii_case(&table));
        for column in 0..3 {
            if foreign.is_none() && names::name(row, column)?.is_none() {
                foreign = Some(format!("{table}.{}", names::shown(row, 1)?));
            }
        }
    }
    match foreign.filter(|_| may_fire) {
        None => Ok(()),
        Some(trigger) => Err(Error::new(
            Reason::Unsupported,
            format!(
                "the trigger {trigger} is not UTF-8 as a whole, so that it cannot be told whether it would fire, and what \
                 it writes to; let the application itself remove the rows"
            ),
        )),
    }
}

/// Refuses where a part of the schema that is not read here may belong to what the rule touches: a
/// trigger would not fire, an index would not be kept, rows of a table would not be found.
fn are_read(connection: &Connection, graph: &Graph, written: &WrittenTables) -> Result<()> {
    let touched = || graph.tables.iter().map(|node| &node.name).chain(written.keys());
    // A virtual table keeps its content in tables that begin with its name.
    let is_touched = |table: &str| {
        touched().any(|name| {
            table.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && matches!(table.as_bytes().get(name.len()), None | Some(b'_'))
        })
    };
    for one in refused::all(connection)? {
        let concerns = match one.sort.as_str() {
            "view" => false,
            // Its foreign keys are not known.
            "table" => true,
            _ => is_touched(&one.table),
        };
        if concerns {
            return Err(one.error.context(format!(
                "what the {} {} would do, or need, cannot be known, so that litekeeper removes nothing here",
                one.sort, one.name
            )));
        }
    }
    Ok(())
}

/// Refuses where one of them would write to a full-text table that does not agree with its content
/// by our tokenizers: what it takes out of the index would not be what the application's put in
/// (HAZARDS H34).
pub(in crate::jobs::cleanup) fn in_step(
    run: &Run,
    reader: &Reader<'_>,
    fired: &TriggerEffects,
) -> Result<()> {
    for (table, &only_deletes) in &fired.fulltext {
        let found = reader.read(|c| fulltext::agreement(c, table));
        run.go_on()?;
        let why = match found {
            Ok(Agreement::Agrees) => continue,
            // Nothing is read of a row that is forgotten by its number alone.
            Ok(Agreement::Contentless) if only_deletes => continue,
            Ok(Agreement::Differs(why)) => format!(
                "by SQLite's own tokenizers it does not agree with its content ({why}). Either the application has a \
                 tokenizer of its own under that name, and its search would be spoilt: then let the application itself \
                 remove the rows. Or the index is out of step already: then let the application rebuild it"
            ),
            Ok(Agreement::Contentless) => String::from(
                "its content is not stored, so that nobody can tell whether the application has a tokenizer of its own, \
                 and its search would be spoilt; let the application itself remove the rows",
            ),
            Ok(Agreement::Unknown(why)) => format!(
                "it cannot be told whether it agrees with its content ({why}), and its search might be spoilt; let the \
                 application itself remove the rows"
            ),
            Err(error) if error.reason == Reason::Unsupported => {
                return Err(error.context(format!(
                    "a trigger writes to the full-text table {table}, which needs what only the application has, so that \
                     litekeeper cannot write there"
                )));
            }
            Err(error) => format!("it could not be compared with its content first: {}", error.message),
        };
        let text = format!("a trigger writes to the full-text table {table}; {why}");
        return Err(Error::new(Reason::Refused, text));
    }
    Ok(())
}

fn fires(
    connection: &Connection,
    sql: &str,
    table: &str,
    what: &str,
    written: &mut WrittenTables,
) -> Result<bool> {
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
    noting(connection, written, explain)?.map_err(|cause| {
        let error = Error::from(cause);
        match error.reason {
            Reason::Unsupported => error.context(format!(
                "a trigger, check or index of {table} needs what only the application has, so that litekeeper cannot \
                 write there"
            )),
            _ => error.context(format!("rows of {table} cannot be {what}")),
        }
    })
}

/// Does `work`, and notes which tables what is compiled meanwhile writes to. Triggers of triggers
/// are compiled with them.
fn noting<T>(connection: &Connection, written: &mut WrittenTables, work: impl FnOnce() -> T) -> Result<T> {
    let seen = Arc::new(Mutex::new(std::mem::take(written)));
    let note = {
        let seen = Arc::clone(&seen);
        move |context: AuthContext<'_>| {
            let (table, deletes) = match context.action {
                AuthAction::Delete { table_name } => (table_name, true),
                AuthAction::Insert { table_name } | AuthAction::Update { table_name, .. } => {
                    (table_name, false)
                }
                _ => return Authorization::Allow,
            };
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen.entry(table.to_owned()).or_insert(true) &= deletes;
            Authorization::Allow
        }
    };
    connection.authorizer(Some(note))?;
    let done = work();
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    *written = std::mem::take(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(done)
}
