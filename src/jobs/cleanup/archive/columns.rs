//! The columns of an archived table: what names a row first, then the rest.

use rusqlite::Connection;

use crate::error::Result;
use crate::jobs::cleanup::graph::children::Node;
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys;

/// How the rows of one table are written.
pub(super) struct Columns {
    /// What reads them, up to its WHERE.
    pub(super) select: String,
    pub(super) names: Vec<String>,
    /// How many of them, at the beginning, name a row.
    pub(super) key: usize,
}

impl Columns {
    /// All columns, and before them the rowid where no column is that.
    pub(super) fn of(connection: &Connection, node: &Node) -> Result<Self> {
        let mut names = keys::every_column(connection, &node.name)?;
        let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 AND upper(type) = 'INTEGER' \
                   AND (SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0) = 1 \
                   AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
        let by_rowid = matches!(node.key.as_slice(), [one] if !one.starts_with('"'));
        let key = if by_rowid {
            let alias: Option<String> =
                connection.prepare(sql)?.query_map([&node.name], |row| row.get(0))?.next().transpose()?;
            vec![alias.unwrap_or_else(|| node.key[0].clone())]
        } else {
            keys::primary_key(connection, &node.name)?
        };
        names.retain(|name| !key.contains(name));
        names.splice(0..0, key.iter().cloned());
        let list = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        Ok(Self { select: format!("SELECT {list} FROM {}", quoted(&node.name)), names, key: key.len() })
    }
}
