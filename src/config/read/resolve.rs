//! The only place that merges: built-in defaults, over them the file's job tables, over them each
//! database's own. Which keys a table has is `tables`' and `lists`'.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeTable;

use super::file::{Findings, Table};
use super::zone::Zone;
use super::{defaults, lists, tables, value, zone};
use crate::config::{Config, Database};

/// The whole document as one configuration. What is wrong is noted in `findings`, and the result
/// then counts for nothing.
pub(super) fn resolve<'t>(document: &'t DeTable<'t>, findings: &'t Findings<'t>) -> Config {
    let mut root = Table::root(document, findings);
    let mut warnings = Vec::new();

    let mut t = root.table("daemon");
    let mut daemon = defaults::daemon(chrono_tz::UTC);
    tables::daemon(&mut t, &mut daemon);
    daemon.timezone = match zone::read(&mut t) {
        Some(Zone::Named(zone)) => zone,
        Some(Zone::Local) | None => {
            let (zone, warning) = zone::local();
            warnings.extend(warning);
            zone
        }
    };
    t.finish();

    let mut base = defaults::database();
    layer(&mut root, &mut base, Level::File);

    let mut databases = BTreeMap::new();
    let mut all = root.table("database");
    for (name, key, mut t) in all.named(false) {
        let mut database = base.clone();
        name.clone_into(&mut database.name);
        if let Some(wrong) = lists::bad_name("database", name) {
            t.note_at(key, wrong);
        }
        if let Some(path) = t.need("path", value::file_path) {
            database.path = path;
        }
        layer(&mut t, &mut database, Level::Database);
        database.indexes = lists::indexes(&mut t);
        t.finish();
        databases.insert(database.name.clone(), Arc::new(database));
    }
    root.misplaced("index", "expected indexes belong to a database: [[database.NAME.index]]");
    root.finish();
    Config { daemon, databases, warnings }
}

/// The same tables stand at the top of the file, for all databases, and within one database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    File,
    Database,
}

fn layer(parent: &mut Table<'_>, over: &mut Database, level: Level) {
    let mut t = parent.table("pool");
    tables::pool(&mut t, &mut over.pool);
    t.finish();

    let mut t = parent.table("maintain");
    tables::maintain(&mut t, &mut over.maintain);
    t.finish();

    let mut t = parent.table("backup");
    tables::backup(&mut t, &mut over.backup);
    match level {
        Level::Database => over.backup.copies = lists::copies(&mut t, over.backup.keep),
        Level::File => t.misplaced("copy", "a copy belongs to a database: [[database.NAME.backup.copy]]"),
    }
    t.finish();

    let mut t = parent.table("verify");
    tables::verify(&mut t, &mut over.verify);
    t.finish();

    let mut t = parent.table("cleanup");
    tables::cleanup(&mut t, &mut over.cleanup);
    match level {
        Level::Database => over.cleanup.rules = lists::rules(&mut t),
        Level::File => t.misplaced("rule", "a rule belongs to a database: [[database.NAME.cleanup.rule]]"),
    }
    t.finish();

    let mut t = parent.table("health");
    tables::health(&mut t, &mut over.health);
    t.finish();

    let mut t = parent.table("watch");
    tables::watch(&mut t, &mut over.watch);
    match level {
        Level::Database => over.watch.queries = lists::queries(&mut t),
        Level::File => t.misplaced_tables("a query belongs to a database: [database.NAME.watch.QUERY]"),
    }
    t.finish();
}
