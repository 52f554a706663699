//! How a rejection is shown: every problem at its line and column, in the order of the file.

use super::fixture::{APP, accepted, app, rejected, says};
use litekeeper::config::{Config, keys};
use litekeeper::error::{Error, Reason};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_rejection_shows_the_line_with_a_caret_and_the_remedy() {
    let text = format!("{APP}[pool]\n\tsize =\t0 # none\nretrys = 3\n");
    let expected = "\
l.toml:4:9: error: `pool.size` must be a whole number from 1 to 1000, not 0
4 | \tsize =\t0 # none
  | \t      \t^

l.toml:5:1: error: unknown key `pool.retrys`
5 | retrys = 3
  | ^^^^^^
  = help: did you mean `retries`? [pool] takes size, idle, max_overflow, timeout, recycle, retries, retry_delay, busy_timeout, pause_timeout";
    assert_eq!(rejected(&text).to_string(), expected);
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let shown = rejected("pool = { \"größe\" = \"naïve\", sise = 1 }\r\n").to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "l.toml:1:10: error: unknown key `pool.größe`");
    assert_eq!(lines[1], "1 | pool = { \"größe\" = \"naïve\", sise = 1 }");
    assert_eq!(lines[2], "  |          ^^^^^^^");
    assert_eq!(lines[5], "l.toml:1:29: error: unknown key `pool.sise`");
    assert_eq!(lines[7], "  |                             ^^^^");
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
[daemon]
listen = \"nowhere\"
parallel_jobs = 0
[pool]
timeout = 30
[backup]
level = 20
schedule = \"0 0 30 2 *\"
[database.\"no good\"]
path = \"data.sqlite\"
[database.app]
[databse]
";
    let found: Vec<(usize, usize)> = rejected(text)
        .problems
        .iter()
        .map(|p| p.place.as_ref().map(|place| (place.line, place.column)).unwrap())
        .collect();
    assert_eq!(found, [(2, 10), (3, 17), (5, 11), (7, 9), (8, 17), (9, 11), (10, 8), (11, 1), (12, 2)]);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let shown = rejected("a = \"\u{1b}[31m\"").to_string();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn syntax_errors_have_a_place_and_are_all_there_is_to_say() {
    let all = rejected("[pool]\nsize = \n[backup\nlevel = 99\n");
    assert!(all.problems.iter().all(|p| p.message.starts_with("this is not TOML: ")), "{all}");
    let lines: BTreeSet<usize> = all.problems.iter().map(|p| p.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, BTreeSet::from([2, 3]));
    says("[pool]\nsize = 1\nsize = 2\n", "3:1: this is not TOML: duplicate key");
    assert_eq!(rejected("x = [1,").problems[0].place.as_ref().unwrap().line, 1);

    let script = rejected(&"if [ -e /x ]; then\n".repeat(30));
    assert_eq!(script.problems.len(), 10);
    assert_eq!(script.problems[9].help.as_deref(), Some("so are 20 more lines: is this the right file?"));
}

#[test]
fn a_rejection_becomes_the_programs_error_and_one_line_of_status() {
    let rejected = rejected("a = 1\nb = 2\nc = 3");
    assert_eq!(rejected.summary(), "l.toml:1:1: unknown key `a` (and 2 more)");
    let error = Error::from(rejected.clone());
    assert_eq!(error.reason, Reason::Config);
    assert_eq!(error.message, rejected.to_string());
}

#[test]
fn a_file_that_cannot_be_read_is_rejected_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.toml");
    let shown = Config::load(&missing).unwrap_err().to_string();
    let expected = format!(
        "{}: error: there is no such file\n= help: litekeeper reads /etc/litekeeper/litekeeper.toml unless --config or LITEKEEPER_CONFIG names another file",
        missing.display()
    );
    assert_eq!(shown, expected);
    assert!(Config::load(dir.path()).unwrap_err().to_string().contains("error: this is a directory"));

    let latin = dir.path().join("latin.toml");
    std::fs::write(&latin, b"[pool]\n# Gr\xf6\xdfe\n").unwrap();
    let shown = Config::load(&latin).unwrap_err().to_string();
    assert!(shown.starts_with(&format!("{}:2:5: error: this is not UTF-8 text", latin.display())), "{shown}");

    std::fs::write(&latin, APP).unwrap();
    assert_eq!(Config::load(&latin).unwrap(), accepted(APP));
}

#[test]
fn a_text_with_escapes_or_over_several_lines_is_pointed_at_as_a_whole() {
    says(
        "[watch]\nschedule = \"0 \\u0032\\u0034 * * *\"\n",
        "2:12: `watch.schedule` has a wrong hour: 24 is not from 0 to 23",
    );
    let shown =
        rejected(&format!("{APP}[database.app.watch.q]\nsql = \"\"\"\nDROP TABLE t\n\"\"\"\n")).to_string();
    let lines: Vec<&str> = shown.lines().skip(1).take(2).collect();
    assert_eq!(lines, ["4 | sql = \"\"\"", "  |       ^^^"]);
}

/// A line as a careless user might write it.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(keys());
    prop_oneof![
        key.clone().prop_map(|key| format!("{key} = 0")),
        key.clone().prop_map(|key| format!("{key} = \"5m\"")),
        key.clone().prop_map(|key| format!("[{key}]")),
        key.prop_map(|key| format!("[[{key}]]")),
        "\\PC{0,20}",
        "[a-c.\\[\\]{}=\"'#, 0-9\\\\\n\r\t]{0,24}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_accepted_or_rejected_with_places(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.join("\n");
        if let Err(rejected) = Config::parse(&text, "l.toml") {
            prop_assert!(!rejected.problems.is_empty());
            for problem in &rejected.problems {
                let place = problem.place.as_ref().unwrap();
                prop_assert!(place.line >= 1 && place.column >= 1 && place.width >= 1);
                prop_assert!(place.line <= text.matches('\n').count() + 1);
            }
            prop_assert!(rejected.to_string().contains("error: "));
        }
    }

    /// Against a naive model: the last layer that names a value wins.
    #[test]
    fn the_highest_layer_that_sets_a_key_wins(file in prop::option::of(1..9_u32), own in prop::option::of(1..9_u32)) {
        let set = |table: &str, level: Option<u32>| level.map_or(String::new(), |l| format!("[{table}]\nlevel = {l}\n"));
        let text = format!("{APP}{}{}", set("backup", file), set("database.app.backup", own));
        prop_assert_eq!(app(&text).backup.level, own.or(file).unwrap_or(6));
    }
}
