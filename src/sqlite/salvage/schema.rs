//! The schema of a damaged file: the rows of `sqlite_schema` that can be read, wherever they lie.

use std::collections::HashSet;

use crate::sqlite::pages::{Database, Fields, Freelist, Page, PageKind, Value, payload};

/// SQLite's trees are never deeper (`BTCURSOR_MAX_DEPTH`); what is, runs in a circle.
pub(super) const DEEPEST: usize = 20;

/// What a row of the schema is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Table,
    Index,
    View,
    Trigger,
}

impl Sort {
    /// As `sqlite_schema` calls it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Index => "index",
            Self::View => "view",
            Self::Trigger => "trigger",
        }
    }
}

/// A row of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sort: Sort,
    pub(super) name: String,
    /// The table that it belongs to.
    pub(super) table: String,
    /// 0 for what has no pages: views, triggers, virtual tables.
    pub(super) root: u32,
    /// None for indexes that a constraint made.
    pub(super) sql: Option<String>,
    /// Not all of it is UTF-8: what is not is U+FFFD here, and in what is made by it.
    pub(super) is_replaced: bool,
}

impl Entry {
    pub(super) fn is_virtual(&self) -> bool {
        let sql = self.sql.as_deref().unwrap_or_default();
        self.sort == Sort::Table && sql.get(..14).is_some_and(|s| s.eq_ignore_ascii_case("CREATE VIRTUAL"))
    }

    /// None of those that SQLite makes itself.
    pub(super) fn is_internal(&self) -> bool {
        self.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
    }
}

/// The schema, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) entries: Vec<Entry>,
    /// Pages of its tree.
    pub(super) pages: Vec<u32>,
    /// Rows or pages of it that cannot be read.
    pub(super) lost: u64,
}

impl Schema {
    pub(super) fn read(database: &Database<'_>, free: &Freelist) -> Self {
        let mut schema = Self::default();
        let (mut seen, mut stack) = (HashSet::new(), vec![(1, 0)]);
        while let Some((number, depth)) = stack.pop() {
            let page = if seen.insert(number) { database.tree_page(number) } else { None };
            let Some(page) = page.filter(|page| page.kind.is_table() && depth < DEEPEST) else {
                schema.lost += 1;
                continue;
            };
            schema.pages.push(number);
            if page.kind == PageKind::TableLeaf {
                schema.take(database, &page);
                continue;
            }
            let children =
                (0..page.len()).map(|at| page.cell(at).and_then(|cell| cell.child)).chain([page.right]);
            // In their order from the stack; a damaged cell leads to page 0, which is none.
            let children: Vec<u32> = children.map(Option::unwrap_or_default).collect();
            stack.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
        }
        if schema.lost > 0 {
            schema.search(database, free);
        }
        schema
    }

    /// Pages that only a schema can be, where its own tree does not lead to them.
    fn search(&mut self, database: &Database<'_>, free: &Freelist) {
        let known: HashSet<u32> = self.pages.iter().chain(&free.pages).copied().collect();
        for number in (2..=database.count).filter(|number| !known.contains(number)) {
            let Some(page) = database.tree_page(number).filter(|page| page.kind == PageKind::TableLeaf)
            else {
                continue;
            };
            let mut found = Self::default();
            found.take(database, &page);
            if found.lost == 0 && !found.entries.is_empty() {
                self.pages.push(number);
                for entry in found.entries {
                    self.add(entry);
                }
            }
        }
    }

    fn take(&mut self, database: &Database<'_>, page: &Page) {
        for at in 0..page.len() {
            match entry(database, page, at) {
                Some(entry) => self.add(entry),
                None => self.lost += 1,
            }
        }
    }

    /// The first of a name counts.
    fn add(&mut self, entry: Entry) {
        let is_known =
            |known: &Entry| known.sort == entry.sort && known.name.eq_ignore_ascii_case(&entry.name);
        if !self.entries.iter().any(is_known) {
            self.entries.push(entry);
        }
    }
}

fn entry(database: &Database<'_>, page: &Page, at: usize) -> Option<Entry> {
    let cell = page.cell(at)?;
    let record = payload(database, page, &cell);
    let fields = Fields::read(&record.bytes).filter(|fields| fields.length == cell.length)?;
    let values = fields.values(&record.bytes, database.layout.encoding);
    let [Some(Value::Text(sort)), Some(Value::Text(name)), Some(Value::Text(table)), root, sql] =
        values.as_slice()
    else {
        return None;
    };
    let sort = match sort.as_slice() {
        b"table" => Sort::Table,
        b"index" => Sort::Index,
        b"view" => Sort::View,
        b"trigger" => Sort::Trigger,
        _ => return None,
    };
    let root = match root {
        Some(Value::Integer(root)) => u32::try_from(*root).ok()?,
        Some(Value::Null) => 0,
        _ => return None,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_text = |bytes: &Vec<u8>| str::from_utf8(bytes).is_ok();
    let is_replaced =
        !(is_text(name) && is_text(table)) || matches!(sql, Some(Value::Text(sql)) if !is_text(sql));
    let sql = match sql {
        Some(Value::Text(sql)) => Some(text(sql)),
        Some(Value::Null) if sort == Sort::Index => None,
        _ => return None,
    };
    let is_create = |sql: &String| sql.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("CREATE "));
    if !sql.as_ref().is_none_or(is_create) {
        return None;
    }
    Some(Entry { sort, name: text(name), table: text(table), root, sql, is_replaced })
}
