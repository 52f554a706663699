//! How many connections there are, who waits for one and for how long, and how old they get.

use super::fixture::{Fixture, LONG, call, hold, soon, times_open};
use crate::support::calls::OnThread as _;
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use litekeeper::error::Reason;
use std::time::Duration;

const MARK: &str = "CREATE TEMP TABLE IF NOT EXISTS mark (x); INSERT INTO mark VALUES (1)";
const MARKED: &str = "SELECT count(*) FROM temp.sqlite_schema WHERE name = 'mark'";

#[tokio::test(flavor = "multi_thread")]
async fn keeps_its_size_open_and_closes_the_overflow_when_it_is_given_back() {
    // In WAL mode SQLite keeps the descriptor of a closed connection for as long as another one has
    // its lock.
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let fixture = Fixture::on(sandbox, |d| (d.pool.size, d.pool.max_overflow) = (2, 3));
    assert_eq!(times_open(&fixture.database.path), 0, "nothing is opened before it is wanted");
    let mut held = Vec::new();
    for lent in 1..=5 {
        held.push(hold(&fixture.pool).await);
        let state = fixture.pool.state();
        assert_eq!((state.in_use, state.idle, state.max, state.size), (lent, 0, 5, 2));
    }
    assert_eq!(times_open(&fixture.database.path), 5);
    for one in held {
        one.give_back().await;
    }
    let state = fixture.pool.state();
    assert_eq!((state.in_use, state.idle), (0, 2));
    wait_until("the overflow is closed", || (times_open(&fixture.database.path) == 2).then_some(()));
    fixture.pool.upkeep();
    assert_eq!(fixture.pool.state().idle, 2, "upkeep leaves young ones alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_beyond_the_maximum_gets_the_connection_that_is_given_back() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow, d.pool.timeout) = (1, 1, LONG));
    let (first, second) = (hold(&fixture.pool).await, hold(&fixture.pool).await);
    let third = tokio::spawn({
        let pool = fixture.pool.clone();
        async move { pool.on_thread(&call(), |_| Ok(())).await }
    });
    wait_until("it waits", || (fixture.pool.state().waiting == 1).then_some(()));
    fixture.pool.upkeep();
    assert!((fixture.counted("litekeeper_pool_waiting") - 1.0).abs() < 0.1);
    assert!(!third.is_finished());
    first.give_back().await;
    soon(third).await.unwrap().unwrap();
    second.give_back().await;
    let state = fixture.pool.state();
    assert_eq!((state.waiting, state.idle, state.in_use, state.timeouts), (0, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_in_vain_tries_as_often_as_configured_and_says_what_to_do() {
    for attempts in [1, 3] {
        let fixture = Fixture::new(|d| {
            (d.pool.size, d.pool.max_overflow) = (1, 1);
            d.pool.timeout = Duration::from_millis(20);
            (d.pool.retries, d.pool.retry_delay) = (attempts, Duration::from_millis(10));
        });
        let held = [hold(&fixture.pool).await, hold(&fixture.pool).await];
        let error = soon(fixture.sql("SELECT 1")).await.unwrap_err();
        assert_eq!(error.reason, Reason::PoolTimeout);
        assert!(error.message.contains("all 2 connections"), "{error}");
        assert!(error.message.contains("pool.max_overflow"), "{error}");
        assert_eq!(fixture.pool.state().timeouts, u64::from(attempts));
        assert!((fixture.counted("litekeeper_pool_timeouts_total") - f64::from(attempts)).abs() < 0.1);
        for one in held {
            one.give_back().await;
        }
        fixture.sql("SELECT 1").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_gets_the_connection() {
    let fixture = Fixture::new(|d| {
        (d.pool.size, d.pool.max_overflow) = (1, 0);
        d.pool.timeout = Duration::from_millis(20);
        (d.pool.retries, d.pool.retry_delay) = (u32::MAX, Duration::from_millis(20));
    });
    let held = hold(&fixture.pool).await;
    let pool = fixture.pool.clone();
    let caller = tokio::spawn(async move { pool.on_thread(&call(), |_| Ok(())).await });
    wait_until("an attempt timed out", || (fixture.pool.state().timeouts > 0).then_some(()));
    held.give_back().await;
    soon(caller).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_must_stop_does_not_wait_for_a_connection() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow, d.pool.timeout) = (1, 0, LONG));
    let held = hold(&fixture.pool).await;
    let cancelled = call();
    let late = call().within(Duration::from_millis(50));
    let caller = tokio::spawn({
        let (pool, call) = (fixture.pool.clone(), cancelled.clone());
        async move { pool.on_thread(&call, |_| Ok(())).await }
    });
    wait_until("it waits", || (fixture.pool.state().waiting == 1).then_some(()));
    cancelled.cancel.cancel();
    assert_eq!(soon(caller).await.unwrap().unwrap_err().reason, Reason::Cancelled);
    assert_eq!(soon(fixture.pool.on_thread(&late, |_| Ok(()))).await.unwrap_err().reason, Reason::Deadline);
    assert_eq!(fixture.pool.state().waiting, 0);
    held.give_back().await;
    fixture.sql("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_must_stop_does_not_wait_for_the_next_attempt() {
    let fixture = Fixture::new(|d| {
        (d.pool.size, d.pool.max_overflow) = (1, 0);
        (d.pool.timeout, d.pool.retry_delay) = (Duration::from_millis(10), LONG);
    });
    let held = hold(&fixture.pool).await;
    let late = call().within(Duration::from_millis(200));
    assert_eq!(soon(fixture.pool.on_thread(&late, |_| Ok(()))).await.unwrap_err().reason, Reason::Deadline);
    held.give_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_older_than_recycle_is_replaced_when_it_is_next_wanted() {
    for (recycle, marked, recycled) in [(LONG, 1, 0), (Duration::ZERO, 0, 2)] {
        let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow, d.pool.recycle) = (1, 0, recycle));
        fixture.sql(MARK).await.unwrap();
        assert_eq!(fixture.number(MARKED).await.unwrap(), marked, "with recycle = {recycle:?}");
        fixture.sql("SELECT 1").await.unwrap();
        assert_eq!(fixture.pool.state().recycled, recycled);
        // The metric learns of them with the next upkeep, which here finds the one idle connection
        // old as well.
        fixture.pool.upkeep();
        let counted = if recycled == 0 { 0 } else { 3 };
        assert_eq!(fixture.pool.state().recycled, counted);
        assert!((fixture.counted("litekeeper_pool_recycled_total") - counted as f64).abs() < 0.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_closes_old_idle_connections_and_leaves_lent_ones_alone() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let fixture = Fixture::on(sandbox, |d| (d.pool.size, d.pool.recycle) = (2, Duration::ZERO));
    let (first, second) = (hold(&fixture.pool).await, hold(&fixture.pool).await);
    first.give_back().await;
    assert_eq!(fixture.pool.state().idle, 1);
    fixture.pool.upkeep();
    let state = fixture.pool.state();
    assert_eq!((state.idle, state.in_use, state.recycled), (0, 1, 1));
    wait_until("it is closed", || (times_open(&fixture.database.path) == 1).then_some(()));
    second.give_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_closes_lent_connections_when_they_come_back_and_lends_no_more() {
    let fixture = Fixture::new(|_| ());
    let held = hold(&fixture.pool).await;
    fixture.pool.close();
    held.give_back().await;
    wait_until("all are closed", || (times_open(&fixture.database.path) == 0).then_some(()));
    assert_eq!(fixture.sql("SELECT 1").await.unwrap_err().reason, Reason::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_serves_a_database_until_something_that_it_was_made_of_changes() {
    let fixture = Fixture::new(|_| ());
    let mut other = fixture.database.clone();
    other.backup.keep.last += 1;
    assert!(fixture.pool.serves(&other));
    let changes: [fn(&mut litekeeper::config::Database); 3] = [
        |d| d.pool.busy_timeout += Duration::from_secs(1),
        |d| d.path = "/elsewhere".into(),
        |d| d.watch.slow_threshold += Duration::from_secs(1),
    ];
    for change in changes {
        let mut other = fixture.database.clone();
        change(&mut other);
        assert!(!fixture.pool.serves(&other), "{other:?}");
    }
}
