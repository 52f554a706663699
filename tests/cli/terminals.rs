//! What is seen on a real terminal of 80 columns: colours, lines that end within it, and columns
//! that stand one beneath the other whatever is written in them.

use super::fixture::{kept, run, text};
use crate::support::sandbox::{Sandbox, program};
use crate::support::skip;
use rusqlite::Connection;
use std::ffi::OsStr;
use std::process::Command;
use unicode_width::UnicodeWidthStr;

const ESCAPE: char = '\u{1b}';

/// What a verb writes on a terminal of 80 columns; `None` where there is nothing to make one with.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str, environment: &[(&str, &str)]) -> Option<String> {
    let path = program().get_program().to_string_lossy().into_owned();
    let configuration = sandbox.configuration().display().to_string();
    let command = format!("stty cols 80 rows 24; '{path}' --config '{configuration}' {arguments}");
    let mut script = Command::new("script");
    script.args([OsStr::new("-qec"), command.as_ref(), "/dev/null".as_ref()]);
    script.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(environment.iter().copied());
    Some(String::from_utf8(script.output().ok()?.stdout).unwrap())
}

/// Without what only a terminal obeys.
fn seen(line: &str) -> String {
    let mut parts = line.split(ESCAPE);
    let first = parts.next().unwrap_or_default().to_owned();
    let rest =
        parts.map(|part| part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest));
    first + &rest.collect::<String>()
}

#[test]
fn status_has_colour_on_a_terminal_and_none_in_a_pipe_or_where_it_is_not_wanted() {
    let sandbox = kept();
    run(&sandbox, 0, &["backup", "attendance"]);
    let Some(shown) = on_a_terminal(&sandbox, "status", &[]) else { return skip("script is not installed") };
    assert!(shown.contains("\u{1b}[32mok now\u{1b}[0m") || shown.contains("\u{1b}[32mok "), "{shown:?}");
    assert!(shown.contains("\u{1b}[1mattendance\u{1b}[0m  /"), "{shown:?}");
    for plain in [
        on_a_terminal(&sandbox, "status", &[("NO_COLOR", "1")]).unwrap(),
        on_a_terminal(&sandbox, "status", &[("TERM", "dumb")]).unwrap(),
        text(&run(&sandbox, 0, &["status"]).stdout).to_owned(),
    ] {
        assert!(plain.contains("attendance  /") && !plain.contains(ESCAPE), "{plain:?}");
    }
    let json = on_a_terminal(&sandbox, "status --json", &[]).unwrap();
    assert!(json.contains("\"databases\"") && !json.contains(ESCAPE), "{json:?}");
}

#[test]
fn columns_are_as_wide_as_they_are_seen() {
    let sandbox = Sandbox::new();
    let connection = Connection::open(sandbox.database()).unwrap();
    let tables = ["出席簿", "cafe\u{301}", "log"];
    let mut rules = String::from("[cleanup]\nmax_share = \"100%\"\n");
    for table in tables {
        connection
            .execute_batch(&format!(
                "CREATE TABLE \"{table}\" (id INTEGER PRIMARY KEY, at TEXT);
                 INSERT INTO \"{table}\" (at) VALUES ('2020-01-01'), ('2020-01-02');"
            ))
            .unwrap();
        let rule = format!("table = \"{table}\"\ncolumn = \"at\"\nkeep = \"365d\"\n");
        rules += "[[database.attendance.cleanup.rule]]\n";
        rules += &rule;
    }
    sandbox.configure(&rules);
    let shown = run(&sandbox, 0, &["cleanup", "attendance", "--dry-run"]);
    let shown = text(&shown.stdout);
    // Where the column of formats begins, as it is seen.
    let start = |line: &str, of: &str| line[..line.find(of).unwrap()].width();
    let heading = shown.lines().find(|line| line.contains("  FORMAT  ")).unwrap_or_else(|| panic!("{shown}"));
    for table in tables {
        let row = shown.lines().find(|line| line.trim_start().starts_with(table)).unwrap();
        assert_eq!(start(row, "  iso  "), start(heading, "  FORMAT  "), "{table} in\n{shown}");
    }
}

#[test]
fn the_line_of_progress_keeps_its_end_at_80_columns() {
    let sandbox = Sandbox::new();
    let name = "attendance-of-the-northern-school-district";
    let path = sandbox.database().display().to_string();
    let connection = Connection::open(sandbox.database()).unwrap();
    connection.execute_batch("CREATE TABLE filled AS SELECT randomblob(12000000) AS blob").unwrap();
    drop(connection);
    sandbox.configure(&format!("[backup]\nmax_rate = \"2MiB\"\n[database.{name}]\npath = {path:?}\n"));
    let mut table: toml::Table = std::fs::read_to_string(sandbox.configuration()).unwrap().parse().unwrap();
    table["database"].as_table_mut().unwrap().remove("attendance");
    sandbox.configure_as(&table.to_string());
    let Some(shown) = on_a_terminal(&sandbox, &format!("backup {name}"), &[]) else {
        return skip("script is not installed");
    };
    let lines: Vec<String> = shown.split('\r').map(seen).filter(|line| line.contains("MiB/s")).collect();
    assert!(!lines.is_empty(), "no progress was shown: {shown:?}");
    for line in lines {
        assert!(line.starts_with("backup of attendance-of") && line.ends_with(" left"), "{line:?}");
        assert!(line.width() < 80, "{} columns: {line:?}", line.width());
    }
}
