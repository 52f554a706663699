//! Whatever ends the wait for the work ends its SQL: seen by the application, which gets its lock
//! back.

use super::fixture::{Fixture, LONG, call, soon};
use crate::support::application::Application;
use crate::support::calls::OnThread as _;
use crate::support::sandbox::Sandbox;
use crate::support::{PATIENCE, wait_until};
use litekeeper::error::{Error, Reason, Result};
use litekeeper::pool::{Call, LogLimit};
use rusqlite::Connection;
use std::time::Duration;

const ENDLESS: &str = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)";
const WRITE: &str = "sql INSERT INTO users (name, created_at) VALUES ('of the application', '')";

type Work = fn(&mut Connection) -> Result<()>;

/// What never ends by itself. Each writes first, so that it holds the lock.
const ENDLESS_WORK: [(&str, Work); 5] = [
    ("one long statement", |c| {
        Ok(c.execute_batch(&format!("UPDATE users SET name = ({ENDLESS} SELECT max(n) FROM c)"))?)
    }),
    ("a long statement in a transaction", |c| {
        let transaction = c.transaction()?;
        transaction.execute("UPDATE users SET name = 'ours'", [])?;
        transaction.execute_batch(&format!("{ENDLESS} SELECT max(n) FROM c"))?;
        Ok(transaction.commit()?)
    }),
    ("many short statements", |c| {
        let transaction = c.transaction()?;
        transaction.execute("UPDATE users SET name = 'ours'", [])?;
        loop {
            transaction.execute("INSERT INTO users (name, created_at) VALUES ('ours', '')", [])?;
        }
    }),
    ("many short cached statements", |c| {
        let transaction = c.transaction()?;
        transaction.execute("UPDATE users SET name = 'ours'", [])?;
        loop {
            let sql = "INSERT INTO users (name, created_at) VALUES ('ours', '')";
            transaction.prepare_cached(sql)?.execute([])?;
        }
    }),
    ("a transaction by hand", |c| {
        c.execute_batch("BEGIN IMMEDIATE; UPDATE users SET name = 'ours'")?;
        loop {
            c.query_row("SELECT count(*) FROM users", [], |_| Ok(()))?;
        }
    }),
];

/// Until somebody else has the lock for writing.
fn wait_for_lock(path: &std::path::Path) {
    let probe = Connection::open(path).unwrap();
    probe.busy_timeout(Duration::ZERO).unwrap();
    wait_until("the work holds the lock", || probe.execute_batch("BEGIN IMMEDIATE; ROLLBACK").err());
}

/// The application writes, finds nothing of ours, and the connection serves the next call.
async fn assert_stopped(fixture: &Fixture, application: &mut Application, what: &str) {
    application.command(WRITE).unwrap_or_else(|error| panic!("{what}: {error}"));
    let ours = application
        .sql("SELECT count(*) FROM users WHERE name <> 'of the application' AND name NOT LIKE 'User %'");
    assert_eq!(ours[0], 0, "{what} was not rolled back");
    wait_until("the connection is back", || (fixture.pool.state().in_use == 0).then_some(()));
    assert_eq!(fixture.number("SELECT count(*) FROM users WHERE id = 1").await.unwrap(), 1, "{what}");
    fixture.sql("UPDATE users SET email = 'later'").await.unwrap();
    assert_eq!(fixture.pool.state().recycled, 0, "the connection itself is usable");
}

fn sandbox(journal_mode: &str) -> (Fixture, Application) {
    let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
    let fixture = Fixture::on(sandbox, |d| (d.pool.size, d.pool.max_overflow) = (1, 0));
    let application = Application::start_with(&fixture.database.path, &["--busy-timeout", "60000"], None);
    (fixture, application)
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_work_stops_its_sql_and_is_rolled_back() {
    for journal_mode in ["wal", "delete"] {
        let (fixture, mut application) = sandbox(journal_mode);
        for (what, work) in ENDLESS_WORK {
            let call = call();
            let running = tokio::spawn({
                let (pool, call) = (fixture.pool.clone(), call.clone());
                async move { pool.on_thread(&call, work).await }
            });
            wait_for_lock(&fixture.database.path);
            call.cancel.cancel();
            assert_eq!(soon(running).await.unwrap().unwrap_err().reason, Reason::Cancelled, "{what}");
            assert_stopped(&fixture, &mut application, what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_work_stops_its_sql_and_is_rolled_back() {
    let (fixture, mut application) = sandbox("wal");
    for (what, work) in ENDLESS_WORK {
        let error =
            soon(fixture.pool.on_thread(&call().within(Duration::from_millis(100)), work)).await.unwrap_err();
        assert_eq!(error.reason, Reason::Deadline, "{what}");
        assert_stopped(&fixture, &mut application, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_work_stops_its_sql_and_is_rolled_back() {
    let (fixture, mut application) = sandbox("wal");
    for (what, work) in ENDLESS_WORK {
        let running = tokio::spawn({
            let pool = fixture.pool.clone();
            async move { pool.on_thread(&call(), work).await }
        });
        wait_for_lock(&fixture.database.path);
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert_stopped(&fixture, &mut application, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_of_sqlite_itself_is_stopped() {
    let (fixture, mut application) = sandbox("wal");
    fixture
        .sql(&format!("CREATE TABLE much (x, y); INSERT INTO much {ENDLESS} SELECT random(), randomblob(400) FROM c LIMIT 100000"))
        .await
        .unwrap();
    let statements = [
        ("VACUUM", true),
        ("CREATE INDEX much_y ON much (y, x)", true),
        ("REINDEX", true),
        ("ANALYZE", false),
        ("PRAGMA integrity_check", false),
        ("PRAGMA quick_check", false),
    ];
    for (sql, takes_the_lock) in statements {
        let call = call();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let running = tokio::spawn({
            let (pool, call) = (fixture.pool.clone(), call.clone());
            let work = move |c: &mut Connection| {
                let _ = begun.send(());
                // Long enough in all, however fast the machine is.
                loop {
                    c.execute_batch(sql)?;
                    if sql.starts_with("CREATE") {
                        c.execute_batch("DROP INDEX much_y")?;
                    }
                }
            };
            async move { pool.on_thread::<(), _>(&call, work).await }
        });
        has_begun.await.unwrap();
        if takes_the_lock {
            wait_for_lock(&fixture.database.path);
        }
        call.cancel.cancel();
        assert_eq!(soon(running).await.unwrap().unwrap_err().reason, Reason::Cancelled, "{sql}");
        assert_stopped(&fixture, &mut application, sql).await;
    }
    assert_eq!(application.sql("PRAGMA integrity_check")[0], "ok");
}

/// As where a terminal holds up the task that shows how far a command is.
#[tokio::test(flavor = "multi_thread")]
async fn work_is_stopped_also_while_whoever_waits_for_it_is_held_up() {
    let (fixture, mut application) = sandbox("wal");
    application.write_every(Duration::from_millis(10));
    application.wait_for_commits(3);
    let database = fixture.database.path.clone();
    let too_long = LogLimit { database, bytes: 1, error: Error::new(Reason::Deadline, "too long") };
    let call = call().within_log(too_long);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (ended, has_ended) = std::sync::mpsc::channel();
    let work = {
        let (pool, call) = (fixture.pool.clone(), call.clone());
        move || {
            let result = pool.run(&call, |c| {
                let _ = begun.send(());
                Ok(c.execute_batch(&format!("{ENDLESS} SELECT max(n) FROM c"))?)
            });
            let _ = ended.send(result);
            Ok(())
        }
    };
    let mut running = std::pin::pin!(call.on_thread(work));
    tokio::select! {
        _ = &mut running => panic!("it ended"),
        begun = has_begun => begun.unwrap(),
    }
    // From here on, nobody polls.
    let result = has_ended.recv_timeout(PATIENCE).expect("nothing stopped it");
    assert_eq!(result.unwrap_err().reason, Reason::Deadline);
    soon(running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_applications_lock_ends_with_the_call() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let fixture = Fixture::on(sandbox, |d| (d.pool.size, d.pool.busy_timeout) = (1, LONG));
        let mut application = Application::start(&fixture.database.path);
        application.hold_write();
        let write = |c: &mut Connection| Ok(c.execute_batch("UPDATE users SET name = 'ours'")?);

        let cancelled = call();
        let running = tokio::spawn({
            let (pool, call) = (fixture.pool.clone(), cancelled.clone());
            async move { pool.on_thread(&call, write).await }
        });
        let waits = || (fixture.counted("litekeeper_busy_retries_total") > 0.0).then_some(());
        wait_until("it waits for the lock", waits);
        cancelled.cancel.cancel();
        assert_eq!(soon(running).await.unwrap().unwrap_err().reason, Reason::Cancelled);

        let late = call().within(Duration::from_millis(50));
        assert_eq!(soon(fixture.pool.on_thread(&late, write)).await.unwrap_err().reason, Reason::Deadline);
        application.release();
        fixture.sql("UPDATE users SET email = 'later'").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_as_long_as_busy_timeout_and_no_longer() {
    let fixture = Fixture::new(|d| d.pool.busy_timeout = Duration::from_millis(20));
    let mut application = Application::start(&fixture.database.path);
    application.hold_write();
    let error = soon(fixture.sql("UPDATE users SET name = 'ours'")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Busy);
    // A reader of a database in WAL mode does not mind.
    fixture.sql("SELECT count(*) FROM users").await.unwrap();
    application.release();
    fixture.sql("UPDATE users SET email = 'later'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_ended_before_it_began_does_nothing() {
    let fixture = Fixture::new(|_| ());
    let cancelled = call();
    cancelled.cancel.cancel();
    let late = call().within(Duration::ZERO);
    let write = |c: &mut Connection| Ok(c.execute_batch("UPDATE users SET name = 'ours'")?);
    assert_eq!(fixture.pool.on_thread(&cancelled, write).await.unwrap_err().reason, Reason::Cancelled);
    assert_eq!(fixture.pool.on_thread(&late, write).await.unwrap_err().reason, Reason::Deadline);
    assert_eq!(fixture.number("SELECT count(*) FROM users WHERE name = 'ours'").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_work_leaves_open_is_rolled_back() {
    let (fixture, mut application) = sandbox("wal");
    fixture.sql("BEGIN IMMEDIATE; UPDATE users SET name = 'ours'").await.unwrap();
    assert_stopped(&fixture, &mut application, "a transaction left open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_lets_go_of_the_applications_lock() {
    let (fixture, mut application) = sandbox("wal");
    let call = call();
    let panicking = fixture.pool.on_thread(&call, |c| -> Result<()> {
        c.execute_batch("BEGIN IMMEDIATE; UPDATE users SET name = 'ours'")?;
        panic!("on purpose")
    });
    let error = panicking.await.unwrap_err();
    assert_eq!(error.reason, Reason::Panic);
    assert_stopped(&fixture, &mut application, "panicking work").await;
}

/// Numbers without a pattern, the same each time (xorshift64).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stop_of_one_call_ever_hits_another() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow, d.pool.timeout) = (2, 1, LONG));
    let busy_work = |c: &mut Connection| {
        c.execute("UPDATE users SET email = 'x' WHERE id = 1", [])?;
        let sql = "SELECT count(*) FROM attendance a WHERE a.time_in < a.time_out";
        Ok(c.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    };
    let callers = (1..=6_u64).map(|caller| {
        let pool = fixture.pool.clone();
        tokio::spawn(async move {
            let mut seed = caller.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut stopped = 0;
            for _ in 0..150 {
                let call: Call = call();
                let run = pool.on_thread(&call, busy_work);
                let micros = Duration::from_micros(random(&mut seed) % 4000);
                match random(&mut seed) % 3 {
                    // Left alone: nothing may happen to it.
                    0 => assert_eq!(run.await.unwrap(), 1000),
                    1 => stopped += u32::from(tokio::time::timeout(micros, run).await.is_err()),
                    _ => {
                        let cancel = call.cancel.clone();
                        let later = async move {
                            tokio::time::sleep(micros).await;
                            cancel.cancel();
                        };
                        match tokio::join!(run, later).0 {
                            Ok(rows) => assert_eq!(rows, 1000),
                            Err(error) => {
                                assert_eq!(error.reason, Reason::Cancelled);
                                stopped += 1;
                            }
                        }
                    }
                }
            }
            stopped
        })
    });
    let mut stopped = 0;
    for caller in callers.collect::<Vec<_>>() {
        stopped += soon(caller).await.unwrap();
    }
    assert!(stopped > 50, "only {stopped} calls were stopped: this proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_comes_after_the_end_does_not_hit_the_next_user_of_the_connection() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow) = (1, 0));
    let call = call();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut first = Box::pin(fixture.pool.on_thread(&call, move |_| {
        let _ = begun.send(());
        let _ = released.recv();
        Ok(())
    }));
    tokio::select! {
        _ = &mut first => panic!("it ended before it was let go"),
        begun = has_begun => begun.unwrap(),
    }
    // From here on nobody looks at its result.
    drop(release);
    wait_until("the connection is back", || (fixture.pool.state().in_use == 0).then_some(()));
    let second = tokio::spawn({
        let pool = fixture.pool.clone();
        let sql =
            format!("UPDATE users SET name = ({ENDLESS} SELECT max(n) FROM (SELECT n FROM c LIMIT 1000000))");
        async move { pool.on_thread(&super::fixture::call(), move |c| Ok(c.execute_batch(&sql)?)).await }
    });
    wait_for_lock(&fixture.database.path);
    drop(first);
    soon(second).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_transaction_cannot_be_rolled_back_is_closed_with_its_locks() {
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};
    let (fixture, mut application) = sandbox("wal");
    let call = call();
    let stuck = fixture.pool.on_thread(&call, |c| {
        c.execute_batch("BEGIN IMMEDIATE; UPDATE users SET name = 'x'")?;
        // Stands for an error of the disk.
        c.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Transaction { operation: TransactionOperation::Rollback } => Authorization::Deny,
            _ => Authorization::Allow,
        }))?;
        Ok(())
    });
    soon(stuck).await.unwrap_err();
    application.command(WRITE).unwrap();
    fixture.sql("UPDATE users SET email = 'later'").await.unwrap();
}
