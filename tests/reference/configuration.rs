//! Every key: its default and its text as in the packaged configuration, whose values another test
//! holds to the program's own, and what it takes, which the program says when it is given something
//! else.

use std::collections::BTreeSet;

use litekeeper::config::{Config, keys};

use crate::{code, holds, table};

const PACKAGED: &str = include_str!("../../config/litekeeper.toml");

/// Another place of the backups, with a rotation of its own.
const COPY: &str = "database.NAME.backup.copy";

/// What a database must have beside one key that is tried.
const NEEDED: [(&str, &str); 5] = [
    ("database.NAME", "path = \"/srv/app/data.sqlite\""),
    (COPY, "name = \"a\"\ndir = \"/b\""),
    ("database.NAME.cleanup.rule", "table = \"t\"\ncolumn = \"c\"\nkeep = \"1d\""),
    ("database.NAME.index", "name = \"i\"\ntable = \"t\"\ncolumns = [\"c\"]"),
    ("database.NAME.watch.QUERY", "sql = \"SELECT 1\""),
];

/// One line of the packaged file.
struct Line {
    /// `pool`, `database.NAME.index`.
    table: String,
    key: String,
    value: String,
    text: Option<String>,
}

/// The packaged file line by line: what it sets, and what it shows to be uncommented.
fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut table = String::new();
    for line in PACKAGED.lines() {
        let line = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_start_matches('[').split(']').next().unwrap();
            table =
                name.replace("database.attendance", "database.NAME").replace("todays_attendance", "QUERY");
            continue;
        }
        let Some((key, rest)) = line.split_once(" = ") else { continue };
        // No value of the file has a # in it.
        let (value, text) = match rest.split_once('#') {
            Some((value, text)) => (value, Some(text.trim().to_owned())),
            None => (rest, None),
        };
        // It shows there that any key of [backup] may stand in a database's own.
        if table != "database.NAME.backup" {
            let (key, value) = (key.to_owned(), value.trim().to_owned());
            lines.push(Line { table: table.clone(), key, value, text });
        }
    }
    lines
}

/// What every job has is described at the first of them, `[maintain]`, and rotation at the backups'
/// own.
fn description(line: &Line, all: &[Line]) -> String {
    let table = if line.table == COPY { "backup" } else { "maintain" };
    let first = all.iter().find(|first| first.table == table && first.key == line.key);
    let text = line.text.as_ref().or_else(|| first?.text.as_ref());
    text.unwrap_or_else(|| panic!("{}.{} has no text in config/litekeeper.toml", line.table, line.key))
        .clone()
}

fn needed(table: &str) -> &'static str {
    NEEDED.iter().find(|(name, _)| *name == table).map_or("", |(_, lines)| lines)
}

/// `[[database.NAME.index]]` for one of a list.
fn header(table: &str) -> String {
    let is_list = ["copy", "rule", "index"].iter().any(|last| table.ends_with(&format!(".{last}")));
    if is_list { format!("[[{table}]]\n") } else { format!("[{table}]\n") }
}

/// A configuration in which `table` has what it needs, and `line` in place of what that says of the
/// same key.
fn with(table: &str, line: &str) -> Result<Config, String> {
    let key = line.split(" = ").next().unwrap();
    let others: String = needed(table)
        .lines()
        .filter(|other| other.split(" = ").next() != Some(key))
        .map(|other| other.to_owned() + "\n")
        .collect();
    let path = NEEDED[0];
    let database = if table == path.0 { String::new() } else { format!("{}{}\n", header(path.0), path.1) };
    Config::parse(&format!("{database}{}{others}{line}\n", header(table)), "it")
        .map_err(|rejected| rejected.to_string())
}

/// What the program says that it takes there. A date is nothing that any key takes.
fn takes(line: &Line) -> String {
    let rejected = with(&line.table, &format!("{} = 2026-11-23", line.key)).expect_err(&line.key);
    let Some((_, rest)) = rejected.split_once("must be ") else { panic!("{}: {rejected}", line.key) };
    let what = rest.split(", not a date").next().unwrap();
    let what = what.split(" such as ").next().unwrap().trim_end_matches(',');
    what.replace("text in quotes", "text").replace(&format!(" to {}", i64::MAX), " on")
}

/// What holds where it is left out. That of a list's key is known only to the program, which takes
/// the same for equal.
fn default(line: &Line) -> String {
    if !line.table.starts_with("database.") {
        return code(&[&line.value]);
    }
    if line.table == COPY && line.key.starts_with("keep_") {
        return format!("as {}", code(&[&format!("backup.{}", line.key)]));
    }
    let left_out = Config::parse(&header(&line.table), "it").map_err(|rejected| rejected.to_string());
    if left_out.is_err_and(|why| why.contains(&format!("`{}.{}` is missing", line.table, line.key))) {
        return "required".to_owned();
    }
    // One that needs another key beside it is rejected, and so is not the default.
    let set = with(&line.table, &format!("{} = {}", line.key, line.value));
    if set == with(&line.table, "") { code(&[&line.value]) } else { "none".to_owned() }
}

#[test]
fn the_page_of_the_configuration_has_every_key() {
    let lines = lines();
    let rows = |of_databases: bool| {
        let lines = &lines;
        lines.iter().filter(move |line| line.table.starts_with("database.") == of_databases).map(
            move |line| {
                vec![
                    code(&[&format!("{}.{}", line.table, line.key)]),
                    default(line),
                    takes(line),
                    description(line, lines),
                ]
            },
        )
    };
    let head = ["key", "default", "takes", "what it does"];
    let general = table(&head, rows(false));
    let databases = table(&head, rows(true));

    let written: BTreeSet<String> = lines.iter().map(|line| format!("{}.{}", line.table, line.key)).collect();
    let known: BTreeSet<String> = keys().into_iter().filter(|key| !has_a_table_for_all(key)).collect();
    assert_eq!(written, known, "the keys of config/litekeeper.toml and those of the program");
    holds("configuration.md", &[("general", general), ("databases", databases)]);
}

/// `database.NAME.pool.size` is described as `pool.size`.
fn has_a_table_for_all(key: &str) -> bool {
    key.strip_prefix("database.NAME.").is_some_and(|rest| keys().iter().any(|key| key == rest))
}
