//! What only a database has, as many as it likes: copies of backups, retention rules, watched
//! queries, expected indexes. Nothing here has a default from a layer below.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::file::Table;
use super::place::place;
use super::tables;
use super::value::{at_least, auto_or_path, choice, count, parameter, size, text, texts};
use super::wrong::Mistake;
use super::zone::{self, Named};
use crate::config::{
    ArchiveFormat, BackupCopy, Children, DateFormat, Index, Keep, Missing, Query, Rule, Triggers,
};
use crate::sql::tokens::{Token, placed};

/// `[[database.NAME.cleanup.rule]]`.
pub(in crate::config) fn rules(cleanup: &mut Table<'_>) -> Vec<Rule> {
    let (mut rules, mut known) = (Vec::new(), HashSet::new());
    for mut t in cleanup.tables("rule") {
        let table = t.need("table", text);
        let rule = Rule {
            table: table.clone().unwrap_or_default(),
            column: t.get("column", text),
            keep: t.get("keep", at_least(Duration::from_secs(1))),
            keep_rows: t.get("keep_rows", count(1..=i64::MAX)),
            max_size: t.get("max_size", size),
            format: t.get("format", choice(&formats())).flatten(),
            timezone: match zone::read(&mut t) {
                Some(Named::Zone(zone)) => zone,
                Some(Named::Local) => zone::local().0,
                None => crate::zone::Zone::UTC,
            },
            triggers: t
                .get("triggers", choice(&[("refuse", Triggers::Refuse), ("allow", Triggers::Allow)]))
                .unwrap_or(Triggers::Refuse),
            children: t
                .get(
                    "children",
                    choice(&[
                        ("refuse", Children::Refuse),
                        ("unlink", Children::Unlink),
                        ("cascade", Children::Cascade),
                    ]),
                )
                .unwrap_or(Children::Refuse),
            archive: t
                .get(
                    "archive",
                    choice(&[
                        ("none", None),
                        ("sqlite", Some(ArchiveFormat::Sqlite)),
                        ("csv", Some(ArchiveFormat::Csv)),
                    ]),
                )
                .flatten(),
            archive_dir: t.get("archive_dir", auto_or_path).flatten(),
        };
        if !t.entries().any(|(name, ..)| ["keep", "keep_rows", "max_size"].contains(&name)) {
            let wrong = Mistake::new("this rule limits nothing");
            t.note(None, wrong.help("set keep, keep_rows or max_size, or several of them"));
        }
        if rule.column.is_none() && rule.keep.is_some() {
            let wrong = Mistake::new("`keep` needs the column with the date");
            t.note(
                Some("keep"),
                wrong.help("set column; without one, only keep_rows and max_size can be used"),
            );
        }
        if rule.archive.is_none() && rule.archive_dir.is_some() {
            let wrong = Mistake::new("`archive_dir` without an archive");
            t.note(Some("archive_dir"), wrong.help("set archive = \"sqlite\" or \"csv\""));
        }
        if table.is_some() {
            // SQLite compares names without regard to the case of ASCII letters.
            let column = rule.column.as_ref().map(|name| name.to_ascii_lowercase());
            if !known.insert((rule.table.to_ascii_lowercase(), column)) {
                let wrong = match &rule.column {
                    Some(column) => {
                        format!("a second rule for column {column:?} of table {:?}", rule.table)
                    }
                    None => format!("a second rule without a column for table {:?}", rule.table),
                };
                t.note(None, Mistake::new(wrong).help("the stricter of the two would win: remove one"));
            }
            rules.push(rule);
        }
        t.finish();
    }
    rules
}

/// The words of `rule.format`.
fn formats() -> Vec<(&'static str, Option<DateFormat>)> {
    let named = DateFormat::ALL.iter().map(|(word, format)| (*word, Some(*format)));
    std::iter::once(("auto", None)).chain(named).collect()
}

/// `[[database.NAME.backup.copy]]`; what a copy does not say of its rotation is as for the backups
/// themselves.
pub(in crate::config) fn copies(backup: &mut Table<'_>, keep: Keep) -> Vec<BackupCopy> {
    let (mut copies, mut names, mut dirs) = (Vec::new(), HashSet::new(), HashSet::new());
    for mut t in backup.tables("copy") {
        let name = t.need("name", text);
        let dir = t.need("dir", place);
        let mut keep = keep;
        tables::keep(&mut t, &mut keep);
        if let Some(wrong) = name.as_deref().and_then(|name| bad_name("copy", name)) {
            t.note(Some("name"), wrong);
        }
        if let Some(name) = name.as_ref().filter(|name| !names.insert(String::clone(name))) {
            t.note(Some("name"), Mistake::new(format!("a second copy named {name:?}")));
        }
        if keep.is_none() {
            let wrong = Mistake::new("no backup would be kept in this copy: every `keep_` key is 0");
            t.note(
                None,
                wrong.help("set one of them here, or leave them all out to keep as many as in `backup.dir`"),
            );
        }
        if let (Some(name), Some(dir)) = (name, dir) {
            if !dirs.insert(dir.to_string()) {
                t.note(Some("dir"), Mistake::new(format!("a second copy in {dir}")));
            }
            copies.push(BackupCopy { name, dir, keep });
        }
        t.finish();
    }
    copies
}

/// `[[database.NAME.index]]`.
pub(in crate::config) fn indexes(database: &mut Table<'_>) -> Vec<Index> {
    let (mut indexes, mut names) = (Vec::new(), HashSet::new());
    for mut t in database.tables("index") {
        let name = t.need("name", text);
        let table = t.need("table", text);
        let columns = t.need("columns", texts);
        let words = [("report", Missing::Report), ("create", Missing::Create)];
        let missing = t.get("missing", choice(&words)).unwrap_or(Missing::Report);
        if let Some(columns) = &columns {
            let mut seen = HashSet::new();
            if let Some(column) = columns.iter().find(|column| !seen.insert(column.to_ascii_lowercase())) {
                t.note(
                    Some("columns"),
                    Mistake::new(format!("column {column:?} appears twice in one index")),
                );
            }
        }
        if let Some(name) = name.as_ref().filter(|name| !names.insert(name.to_ascii_lowercase())) {
            t.note(Some("name"), Mistake::new(format!("a second index named {name:?}")));
        }
        if let (Some(name), Some(table), Some(columns)) = (name, table, columns) {
            indexes.push(Index { name, table, columns, missing });
        }
        t.finish();
    }
    indexes
}

/// `[database.NAME.watch.QUERY]`: every table within `watch`, by name.
pub(in crate::config) fn queries(watch: &mut Table<'_>) -> Vec<Query> {
    let mut queries = Vec::new();
    for (name, key, mut t) in watch.named(true) {
        if let Some(wrong) = bad_name("query", name) {
            t.note_at(key, wrong);
        }
        let sql = t.need("sql", text);
        let params = params(&mut t, sql.as_deref());
        if let Some(sql) = sql {
            let tokens = placed(&sql);
            if !matches!(tokens.first(), Some((Token::Keyword("SELECT" | "WITH"), _))) {
                let wrong = Mistake::new(format!("query {name:?} must begin with SELECT or WITH"));
                t.note(Some("sql"), wrong.help("a watched query is run on every schedule and may only read"));
            }
            let mut rest =
                tokens.iter().map(|(token, _)| *token).skip_while(|token| *token != Token::Sign(";"));
            if rest.any(|token| token != Token::Sign(";")) {
                let wrong = Mistake::new(format!("query {name:?} has more than one statement"));
                t.note(
                    Some("sql"),
                    wrong.help("leave out what follows the first `;`, or make it another query"),
                );
            }
            queries.push(Query { name: name.to_owned(), sql, params });
        }
        t.finish();
    }
    queries
}

fn params(query: &mut Table<'_>, sql: Option<&str>) -> BTreeMap<String, crate::config::Value> {
    let mut params = BTreeMap::new();
    let table = query.table("params");
    let wanted = sql.map(parameters);
    for (name, key, value) in table.entries() {
        if wanted.as_ref().is_some_and(|wanted| !wanted.iter().any(|w| plain(w) == Some(name))) {
            let help = match plain(name) {
                Some(bare) => format!("write the name without its sign: {bare}"),
                None => format!("the query would name it :{name}, and does not"),
            };
            table.note_at(key, Mistake::new(format!("parameter `{name}` is not in the query")).help(help));
        }
        match parameter(value.get_ref()) {
            Ok(value) => drop(params.insert(name.to_owned(), value)),
            Err(wrong) => table.note_at(value.span(), wrong.about(name)),
        }
    }
    for wanted in wanted.unwrap_or_default() {
        let (wrong, help) = match plain(wanted) {
            Some(name) if table.entries().any(|(given, ..)| given == name) => continue,
            Some(name) => (
                format!("parameter `{wanted}` has no value"),
                format!("add it to params, such as params = {{ {name} = 1 }}"),
            ),
            None => (
                format!("parameter `{wanted}` has no name"),
                "write it as :name, and give it a value in params".to_owned(),
            ),
        };
        query.note(Some("sql"), Mistake::new(wrong).help(help));
    }
    params
}

/// The parameters of a query, as they stand in its text.
fn parameters(sql: &str) -> Vec<&str> {
    let literals = placed(sql).into_iter().filter(|(token, _)| *token == Token::Literal);
    let texts = literals.filter_map(|(_, at)| sql.get(at));
    texts.filter(|text| text.starts_with([':', '@', '$', '?'])).collect()
}

/// The name of a parameter that has one, without its sign.
fn plain(parameter: &str) -> Option<&str> {
    parameter.strip_prefix([':', '@', '$'])
}

/// What is wrong with a name that becomes a label, a file name and an argument.
pub(super) fn bad_name(what: &str, name: &str) -> Option<Mistake> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.chars().all(safe) {
        return None;
    }
    let wrong = Mistake::new(format!("{name:?} cannot be the name of a {what}"));
    Some(wrong.help("a name has 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, and does not begin with -"))
}
