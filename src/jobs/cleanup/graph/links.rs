//! One foreign key that points at a table of which rows go: what becomes of a row with it, by the
//! schema and by the rule, and why it cannot be unlinked where it cannot. Reads schemas; changes
//! nothing.

use rusqlite::{Connection, OptionalExtension as _};

use crate::config::Children;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys;
use crate::sqlite::look::schema::{self, ChildKey};

/// What happens to a row that points at one which goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jobs::cleanup) enum Action {
    /// It stands in the way: by the rule, or because it cannot be unlinked, and why.
    Block(Option<String>),
    /// It goes as well.
    Delete,
    /// These assignments are made.
    Set(String),
}

/// A foreign key. Tables are numbers in [`super::children::Graph::tables`].
#[derive(Debug)]
pub(in crate::jobs::cleanup) struct Edge {
    pub(in crate::jobs::cleanup) parent: usize,
    pub(in crate::jobs::cleanup) child: usize,
    /// Columns of the parent and of the child, quoted.
    pub(in crate::jobs::cleanup) pairs: Vec<(String, String)>,
    /// `visit.user`, or `visit (shop, user)`.
    pub(in crate::jobs::cleanup) name: String,
    pub(in crate::jobs::cleanup) action: Action,
    /// The schema itself removes such rows: ON DELETE CASCADE.
    pub(in crate::jobs::cleanup) cascades: bool,
    /// An assignment of NULL, which a row that is to go later does not mind.
    pub(in crate::jobs::cleanup) is_loosed: bool,
    /// The child's columns lead an index.
    pub(in crate::jobs::cleanup) indexed: bool,
}

impl Edge {
    /// The key of `child` that points at `parent`, each with its name and number. Both are 0 for
    /// the rule's own table.
    pub(in crate::jobs::cleanup) fn new(
        connection: &Connection,
        (parent, parent_name): (usize, &str),
        child: usize,
        key: &ChildKey,
        children: Children,
    ) -> Result<Self> {
        let columns: Vec<_> = key.columns.iter().map(|(column, _)| column.as_str()).collect();
        let name = match columns.as_slice() {
            [one] => format!("{}.{one}", key.child),
            several => format!("{} ({})", key.child, several.join(", ")),
        };
        let action = action(connection, key, child == 0, &name, children)?;
        Ok(Self {
            parent,
            child,
            pairs: pairs(connection, parent_name, key)?,
            name,
            cascades: key.on_delete == "CASCADE",
            is_loosed: matches!(action, Action::Set(_)) && key.on_delete != "SET DEFAULT",
            action,
            indexed: is_indexed(connection, key)?,
        })
    }
}

fn action(
    connection: &Connection,
    key: &ChildKey,
    is_own: bool,
    name: &str,
    children: Children,
) -> Result<Action> {
    Ok(match (children, key.on_delete.as_str()) {
        (Children::Refuse, _) => Action::Block(None),
        (_, "SET DEFAULT") => with_default(connection, key, name)?,
        (_, "SET NULL") => unlinked(connection, key, name, false)?,
        (Children::Unlink, _) => unlinked(connection, key, name, true)?,
        // A row that the rule keeps is never removed by it, by whatever way it is reached.
        (Children::Cascade, _) if is_own => Action::Block(None),
        (Children::Cascade, _) => Action::Delete,
    })
}

/// NULL in the columns of the key that may be NULL: where one is, it points at nothing, whatever
/// the others hold. Of several, `sparing` leaves those alone of which other keys consist too.
fn unlinked(connection: &Connection, key: &ChildKey, name: &str, sparing: bool) -> Result<Action> {
    let mut nullable = Vec::new();
    for (column, _) in &key.columns {
        if may_be_null(connection, &key.child, column)? {
            nullable.push(column.clone());
        }
    }
    if nullable.is_empty() {
        return Ok(Action::Block(Some(format!("{name} cannot be NULL"))));
    }
    let mut alone = Vec::new();
    for column in nullable.iter().filter(|_| sparing) {
        if !is_shared(connection, &key.child, column)? {
            alone.push(column.clone());
        }
    }
    let columns = if alone.is_empty() { nullable } else { alone };
    let values: Vec<_> = columns.into_iter().map(|column| (column, String::from("NULL"))).collect();
    set(connection, key, name, &values)
}

/// What the schema has as the columns' default.
fn with_default(connection: &Connection, key: &ChildKey, name: &str) -> Result<Action> {
    let mut values = Vec::new();
    for (column, _) in &key.columns {
        let sql = "SELECT dflt_value FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE";
        let default: Option<String> =
            connection.query_row(sql, (&key.child, column), |row| row.get(0)).optional()?.flatten();
        if default.is_none() && !may_be_null(connection, &key.child, column)? {
            return Ok(Action::Block(Some(format!("{name} cannot be NULL and has no default"))));
        }
        let value = default.map_or_else(|| String::from("NULL"), |default| format!("({default})"));
        values.push((column.clone(), value));
    }
    set(connection, key, name, &values)
}

/// Foreign keys are off on our connections: nothing would follow a value that others point at.
fn set(connection: &Connection, key: &ChildKey, name: &str, values: &[(String, String)]) -> Result<Action> {
    for other in schema::child_keys(connection, &key.child)? {
        let mut named = other.columns.iter().filter_map(|(_, parent)| parent.as_ref());
        if named.any(|parent| values.iter().any(|(column, _)| column.eq_ignore_ascii_case(parent))) {
            let child = &other.child;
            return Ok(Action::Block(Some(format!(
                "{name} cannot be changed, as rows of {child} point at it"
            ))));
        }
    }
    let all: Vec<_> = values.iter().map(|(column, value)| format!("{} = {value}", quoted(column))).collect();
    Ok(Action::Set(all.join(", ")))
}

/// Not so for a primary key, though SQLite allows it in some: a row without one cannot be found
/// again.
fn may_be_null(connection: &Connection, table: &str, column: &str) -> Result<bool> {
    let sql = "SELECT \"notnull\" = 0 AND pk = 0 AND hidden = 0 FROM pragma_table_xinfo(?1) \
               WHERE name = ?2 COLLATE NOCASE";
    Ok(connection.query_row(sql, (table, column), |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Whether a column is in more than one foreign key of its table.
fn is_shared(connection: &Connection, table: &str, column: &str) -> Result<bool> {
    let sql = "SELECT count(*) > 1 FROM pragma_foreign_key_list(?1) WHERE \"from\" = ?2 COLLATE NOCASE";
    Ok(connection.query_row(sql, (table, column), |row| row.get(0))?)
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
