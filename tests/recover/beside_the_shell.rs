//! 500 damages of three databases: what our salvage keeps beside what the `sqlite3` shell's
//! `.recover` keeps, and that it invents nothing.
//!
//! A row whose own bytes the damage changed may come back changed: nothing in the file tells. Every
//! other row of a table that the original has not is invented.

use super::damage::damage;
use super::databases;
use super::rows::{self, Held, Measured};
use crate::support::skip;
use litekeeper::sqlite::pages::{Database, Freelist, payload};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Over all three databases.
const DAMAGES: u64 = 500;

/// A shell with `.recover`, built by tests/run: Debian's has none that works.
pub fn shell() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("litekeeper-tests/sqlite/sqlite3")).filter(|shell| shell.exists())
}

#[test]
fn attendance_keeps_as_many_rows_as_the_shell_and_invents_none() {
    compare("attendance", 0);
}

#[test]
fn documents_keep_as_many_rows_as_the_shell_and_invent_none() {
    compare("documents", 1);
}

#[test]
fn a_shop_keeps_as_many_rows_as_the_shell_and_invents_none() {
    compare("shop", 2);
}

fn compare(name: &str, number: u64) {
    let Some(shell) = shell() else {
        return skip("there is no sqlite3 shell with .recover; tests/run test builds it");
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sound.sqlite");
    databases::create(name, &path);
    let sound = fs::read(&path).unwrap();
    let connection = Connection::open(&path).unwrap();
    let original = rows::tables(&connection);
    let page: usize = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    let holder = Held(&sound);
    let free = Freelist::read(&Database::open(&holder).unwrap()).pages;
    let places = places(&connection, &sound);
    let total: usize = original.values().map(|rows| rows.stored.len()).sum();

    let (mut failures, mut ours_all, mut theirs_all, mut runs) =
        (Vec::new(), Measured::default(), Measured::default(), 0);
    let only: Option<u64> = std::env::var("LITEKEEPER_DAMAGE").ok().and_then(|seed| seed.parse().ok());
    for seed in (0..DAMAGES).filter(|seed| seed / 10 % 3 == number && only.is_none_or(|only| only == *seed)) {
        let damage = damage(&sound, page, &free, seed);
        if damage.bytes == sound {
            continue;
        }
        runs += 1;
        let ours = match rows::salvaged(&damage.bytes) {
            Some((target, told)) => {
                if only.is_some() {
                    println!("{told:#?}");
                    for row in rows::lost_and_found(&target) {
                        println!("lost: {}", row.chars().take(150).collect::<String>());
                    }
                }
                rows::measure(&original, &target)
            }
            None => Measured::default(),
        };
        let theirs = recovered(&shell, dir.path(), &damage.bytes);
        let theirs = rows::measure(&original, &theirs);
        if ours.kept < theirs.kept {
            let what =
                format!("{seed} ({}): kept {} of {total}, .recover {}", damage.words, ours.kept, theirs.kept);
            let there: HashSet<&String> = theirs.missing.iter().collect();
            let lost: Vec<_> = ours.missing.iter().filter(|row| !there.contains(row)).take(3).collect();
            failures.push(format!("{what}; among those that only it has: {lost:?}"));
        }
        for (table, foreign) in &ours.foreign {
            let changed = changed(
                &sound,
                &damage.bytes,
                page,
                places.get(table).map(Vec::as_slice).unwrap_or_default(),
            );
            if foreign.len() > changed {
                let some: Vec<_> =
                    foreign.iter().take(3).map(|row| row.chars().take(90).collect::<String>()).collect();
                let what = format!("{seed} ({}): {} rows in {table}", damage.words, foreign.len());
                failures.push(format!("{what} that it had not, where {changed} were changed: {some:?}"));
            }
        }
        for (all, one) in [(&mut ours_all, ours), (&mut theirs_all, theirs)] {
            all.in_tables += one.in_tables;
            all.kept += one.kept;
            for (table, foreign) in one.foreign {
                all.foreign.entry(table).or_default().extend(foreign);
            }
        }
    }
    let told = |who: &str, all: &Measured| {
        let foreign: usize = all.foreign.values().map(Vec::len).sum();
        println!(
            "{name}: {who}: {} of {} rows kept, {} of them in their tables; {foreign} rows that were not there",
            all.kept,
            total * runs,
            all.in_tables
        );
    };
    println!("{name}: {runs} damages");
    told("salvage ", &ours_all);
    told(".recover", &theirs_all);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(only.is_some() || ours_all.in_tables >= theirs_all.in_tables);
}

/// What `.recover` makes of these bytes.
fn recovered(shell: &Path, dir: &Path, bytes: &[u8]) -> Connection {
    let (damaged, sql, target) = (dir.join("damaged"), dir.join("sql"), dir.join("recovered"));
    let _ = fs::remove_file(&target);
    fs::write(&damaged, bytes).unwrap();
    let run = |command: &mut Command| command.stderr(Stdio::null()).status().unwrap();
    run(Command::new(shell)
        .arg(&damaged)
        .arg(".recover --ignore-freelist")
        .stdout(File::create(&sql).unwrap()));
    let mut input = b"PRAGMA synchronous = off;\n".to_vec();
    input.extend(fs::read(&sql).unwrap());
    fs::write(&sql, input).unwrap();
    run(Command::new(shell).arg(&target).stdin(File::open(&sql).unwrap()).stdout(Stdio::null()));
    Connection::open(&target).unwrap()
}

/// Where a row lies: its page, the bytes in it, and its other pages.
struct Place {
    page: usize,
    bytes: std::ops::Range<usize>,
    chain: Vec<u32>,
}

/// Of each table.
fn places(connection: &Connection, sound: &[u8]) -> BTreeMap<String, Vec<Place>> {
    let holder = Held(sound);
    let database = Database::open(&holder).unwrap();
    let mut statement =
        connection.prepare("SELECT name, pageno FROM dbstat WHERE pagetype <> 'overflow'").unwrap();
    let pages = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))).unwrap();
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for (name, number) in pages.map(Result::unwrap) {
        let page = database.tree_page(number).unwrap();
        for at in 0..page.len() {
            let cell = page.cell(at).unwrap();
            let chain = payload(&database, &page, &cell).pages;
            let place = Place { page: number as usize - 1, bytes: cell.place.clone(), chain };
            places.entry(name.clone()).or_default().push(place);
        }
    }
    places
}

/// How many rows have bytes of their own changed: single ones in their page, or any in their other
/// pages.
fn changed(sound: &[u8], damaged: &[u8], page: usize, places: &[Place]) -> usize {
    let of = |at: usize| {
        let range = at * page..(at + 1) * page;
        (sound.get(range.clone()).unwrap_or_default(), damaged.get(range).unwrap_or_default())
    };
    let is_changed = |place: &&Place| {
        let (before, after) = of(place.page);
        let flipped = before.iter().zip(after).filter(|(a, b)| a != b).count();
        let own = before.get(place.bytes.clone()) != after.get(place.bytes.clone());
        (own && flipped <= 16)
            || place.chain.iter().any(|at| of(*at as usize - 1).0 != of(*at as usize - 1).1)
    };
    places.iter().filter(is_changed).count()
}
