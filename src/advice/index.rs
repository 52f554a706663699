//! An index that does not exist yet: its text, its name, its size. Pure.

use crate::sql::quoting::quoted;

/// One part of an index's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NewKey {
    /// As in the CREATE INDEX: a quoted column or an expression.
    pub(super) text: String,
    /// The column, or the only column of the expression.
    pub(super) column: String,
    /// With COLLATE NOCASE, which LIKE needs.
    pub(super) nocase: bool,
    /// With DESC.
    pub(super) descending: bool,
}

impl NewKey {
    /// A plain column.
    pub(super) fn column(name: &str) -> Self {
        Self { text: quoted(name), column: name.to_owned(), nocase: false, descending: false }
    }

    /// What is compared: for statistics.
    pub(super) fn compared(&self) -> String {
        if self.nocase { format!("{} COLLATE NOCASE", self.text) } else { self.text.clone() }
    }
}

/// An index that might be created.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NewIndex {
    pub(super) table: String,
    pub(super) keys: Vec<NewKey>,
}

impl NewIndex {
    /// On one key.
    pub(super) fn on(table: &str, key: NewKey) -> Self {
        Self { table: table.to_owned(), keys: vec![key] }
    }

    /// With one key more, before the one at this place.
    pub(super) fn with(&self, at: usize, key: NewKey) -> Self {
        let mut keys = self.keys.clone();
        keys.insert(at, key);
        Self { table: self.table.clone(), keys }
    }

    /// The statement that creates it.
    pub(super) fn sql(&self, name: &str) -> String {
        let key = |key: &NewKey| format!("{}{}", key.compared(), if key.descending { " DESC" } else { "" });
        let keys: Vec<String> = self.keys.iter().map(key).collect();
        format!("CREATE INDEX {} ON {} ({})", quoted(name), quoted(&self.table), keys.join(", "))
    }

    /// A name for it that is not taken: `idx_attendance_user_id_date`.
    pub(super) fn name(&self, is_taken: impl Fn(&str) -> bool) -> String {
        let words = std::iter::once(&self.table).chain(self.keys.iter().map(|key| &key.column));
        let plain = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let name = words
            .fold("idx".to_owned(), |name, word| name + "_" + &word.chars().map(plain).collect::<String>());
        if !is_taken(&name) {
            return name;
        }
        // There are not so many names that one of these is not free.
        (2..u16::MAX).map(|n| format!("{name}_{n}")).find(|name| !is_taken(name)).unwrap_or(name)
    }

    /// Whether another one of the same table begins with all of its keys.
    pub(super) fn is_prefix_of(&self, other: &Self) -> bool {
        self.table == other.table && other.keys.starts_with(&self.keys)
    }

    /// All orders of its keys, its own left out; none for a key so long that there would be too
    /// many.
    pub(super) fn rearranged(&self) -> Vec<Self> {
        if self.keys.len() > 4 {
            return Vec::new();
        }
        let mut orders: Vec<Vec<NewKey>> = vec![Vec::new()];
        for _ in &self.keys {
            orders = orders
                .iter()
                .flat_map(|begun| {
                    let rest = self.keys.iter().filter(|key| !begun.contains(key));
                    rest.map(|key| [begun.clone(), vec![key.clone()]].concat())
                })
                .collect();
        }
        orders.retain(|keys| *keys != self.keys);
        orders.into_iter().map(|keys| Self { table: self.table.clone(), keys }).collect()
    }
}
