//! A file with damaged pages: what is written to it could destroy what can still be saved.

use std::os::unix::fs::FileExt as _;

use litekeeper::config::{Reindex, Vacuum};
use litekeeper::error::Reason;
use litekeeper::jobs::cleanup::Cleanup;
use litekeeper::jobs::integrity::Integrity;
use litekeeper::jobs::runner;
use litekeeper::pool::Pool;

use crate::fixture::{as_application, database, maintain, number, state, text};
use crate::support::configured::rule;
use crate::support::keeper::order;
use crate::support::sandbox::Sandbox;

/// Where the header has the number of free pages
/// (<https://www.sqlite.org/fileformat2.html#the_database_header>).
const FREE_PAGES: u64 = 36;

/// What is wrong here, the number of free pages, a VACUUM would put right, as it would every trace
/// of pages that nothing leads to any more and of one that two tables use: it copies what it finds,
/// and afterwards every check finds that sound.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_rewritten_in_a_file_that_a_check_found_damaged_until_another_is_in_its_place() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(
        &path,
        "c.executescript('''CREATE TABLE one (at TEXT); INSERT INTO one VALUES ('2001-01-01')''')",
    );
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&7_u32.to_be_bytes(), FREE_PAGES).unwrap();
    drop(file);
    let state = state(&sandbox);
    let database = database(&path, |d| {
        d.maintain.vacuum = Vacuum::Always;
        d.maintain.reindex = Reindex::Always;
        d.maintain.vacuum_rowids = litekeeper::config::RowidPolicy::Renumber;
        d.cleanup.max_share = 1.0;
        d.cleanup.rules = vec![rule("one")];
    });
    let pool = Pool::new(&database, litekeeper::pool::slow_statements(1).0).unwrap();
    runner::run(&state, order(Integrity, &database, &pool)).await.result.unwrap();
    let pages = number(&path, "PRAGMA page_count");

    let ran = maintain(&state, &database).await;
    let error = ran.finished.result.unwrap_err();
    assert_eq!(error.reason, Reason::Damaged, "{error}");
    assert!(
        error.message.contains("the database is damaged") && error.message.contains("litekeeper recover"),
        "{error}"
    );
    let cleanup = runner::run(&state, order(Cleanup, &database, &pool)).await;
    let error = cleanup.result.unwrap_err();
    assert_eq!(error.reason, Reason::Damaged, "{error}");
    assert_eq!(number(&path, "SELECT count(*) FROM one"), 1);
    assert_eq!(number(&path, "PRAGMA page_count"), pages);
    assert_ne!(text(&path, "PRAGMA integrity_check"), "ok");
    pool.close();
    drop(pool);

    // What a restore does.
    let new = sandbox.path().join("restored");
    std::fs::copy(&path, &new).unwrap();
    as_application(&new, "c.executescript('VACUUM')");
    std::fs::rename(&new, &path).unwrap();
    let ran = maintain(&state, &database).await;
    assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
}
