//! The packaged file: it states every key and every default, and its example is valid.

use super::fixture::{APP, accepted};
use litekeeper::config::keys;

const PACKAGED: &str = include_str!("../../../config/litekeeper.toml");

#[test]
fn the_packaged_file_states_every_default() {
    let with = |text: &str| accepted(&format!("{text}\n{APP}"));
    assert_eq!(with(PACKAGED), with(""));
}

#[test]
fn the_packaged_file_names_every_key() {
    let active: toml::Table = PACKAGED.parse().unwrap();
    let example: toml::Table = uncommented().parse().unwrap();
    for key in keys() {
        let path: Vec<&str> = key.split('.').collect();
        let found = match path[..] {
            [table, key] => active[table].as_table().unwrap().contains_key(key),
            // What the tables above have for all databases, a database may have too.
            ["database", "NAME", table, key] if active.contains_key(table) => {
                active[table].as_table().unwrap().contains_key(key)
            }
            ["database", "NAME", ref rest @ ..] => {
                let database = &example["database"]["attendance"];
                let rest = rest.iter().map(|part| if *part == "QUERY" { "todays_attendance" } else { part });
                let found = rest.into_iter().try_fold(database, |value, part| {
                    let value = value.as_array().map_or(value, |list| &list[0]);
                    value.get(part)
                });
                found.is_some()
            }
            _ => false,
        };
        assert!(found, "{key}");
    }
}

#[cfg(feature = "object-storage")]
#[test]
fn the_packaged_files_example_is_valid_when_uncommented() {
    let config = accepted(&uncommented());
    let attendance = &config.databases["attendance"];
    assert_eq!((attendance.cleanup.rules.len(), attendance.indexes.len()), (1, 1));
    assert_eq!(attendance.watch.queries.len(), 1);
    assert_eq!(attendance.backup.keep.daily, 14);
    assert_eq!(attendance.backup.copies.len(), 1);
}

/// The packaged file with every line that begins with # and no space uncommented.
fn uncommented() -> String {
    let setting = |line: &str| {
        line.strip_prefix('#').filter(|l| !l.is_empty() && !l.starts_with(' ')).map(str::to_owned)
    };
    PACKAGED.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}
