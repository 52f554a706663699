//! Sizes are sampled, thinned, and say how fast a database grows: bounded, and honest about what is
//! not known.

use crate::support::application::Application;
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use crate::support::sql::edit;
use chrono::{DateTime, TimeDelta, Utc};
use litekeeper::jobs::health::Health;
use litekeeper::sqlite::files::space::disk_free;
use litekeeper::state::State;
use litekeeper::state::facts::{self, TRENDS};
use litekeeper::state::trends::{self, Measure, Size, Trend};
use proptest::prelude::*;
use serde_json::Value;

/// Midnight.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_032_000, 0).unwrap()
}

fn state() -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    state.now(|c| Ok(c.pragma_update(None, "synchronous", "off")?)).unwrap();
    (directory, state)
}

fn size(kind: Measure, name: &str, bytes: u64) -> Size {
    Size { kind, name: name.to_owned(), bytes }
}

fn file(bytes: u64) -> Vec<Size> {
    vec![size(Measure::File, "", bytes), size(Measure::Free, "", 0)]
}

fn record(state: &State, at: DateTime<Utc>, sizes: &[Size]) {
    state.now(|c| trends::record(c, "a", at, sizes)).unwrap();
}

/// What is known of the content of the database.
fn content(state: &State, now: DateTime<Utc>) -> Trend {
    let all = state.now(|c| trends::of(c, "a", now)).unwrap();
    all.into_iter().find(|trend| trend.kind == Measure::Content).unwrap()
}

/// The times of the samples of the file.
fn samples(state: &State) -> Vec<DateTime<Utc>> {
    let sql = "SELECT at FROM size_sample WHERE series = (SELECT id FROM size_series WHERE kind = 'file') ORDER BY at";
    let times = state.now(|c| {
        let mut statement = c.prepare(sql)?;
        let times = statement.query_map([], |row| row.get(0))?;
        Ok(times.collect::<rusqlite::Result<Vec<i64>>>()?)
    });
    times.unwrap().into_iter().map(|at| DateTime::from_timestamp_millis(at).unwrap()).collect()
}

#[test]
fn two_days_are_kept_whole_and_of_each_day_before_its_last_sample_for_two_years() {
    let (_directory, state) = state();
    let each = TimeDelta::minutes(15);
    // Rarely at first, for the sake of time; then as health runs.
    for n in 0..800 * 3 {
        record(&state, start() + TimeDelta::hours(8) * n, &file(1));
    }
    let mut now = start() + TimeDelta::days(800);
    let end = now + TimeDelta::days(5);
    while now < end {
        record(&state, now, &file(1));
        now += each;
    }
    let last = now - each;
    let kept = samples(&state);
    let recent = kept.iter().filter(|at| **at > last - TimeDelta::days(2)).count();
    assert_eq!(recent, 2 * 96);
    // Thinned when the day changes: a third day is there in part.
    let older: Vec<_> = kept.iter().filter(|at| **at < last - TimeDelta::days(3)).collect();
    for pair in older.windows(2) {
        assert_ne!(pair[0].date_naive(), pair[1].date_naive(), "one a day");
    }
    assert!(older.iter().any(|at| at.format("%H:%M").to_string() == "16:00"), "the last of its day");
    assert!(kept.len() <= 730 + 4 * 96, "{}", kept.len());
    assert!(last - kept[0] > TimeDelta::days(725), "two years: {}", kept[0]);
}

#[test]
fn of_a_quarter_of_an_hour_one_sample_is_kept_however_often_health_runs() {
    let (_directory, state) = state();
    for minute in 0..60 {
        record(&state, start() + TimeDelta::minutes(minute), &file(1));
    }
    let minutes: Vec<i64> = samples(&state).iter().map(|at| (*at - start()).num_minutes()).collect();
    assert_eq!(minutes, [14, 29, 44, 59]);
}

#[test]
fn what_is_gone_is_forgotten_when_there_is_much_that_came_and_went() {
    let (_directory, state) = state();
    for n in 0..400 {
        let table = size(Measure::Table, &format!("t{n}"), 1);
        record(&state, start() + TimeDelta::days(n), &[file(1), vec![table]].concat());
    }
    let count = |sql: &str| state.now(|c| Ok(c.query_row(sql, [], |row| row.get::<_, i64>(0))?)).unwrap();
    assert_eq!(count("SELECT count(*) FROM size_series"), 300);
    let orphans = "SELECT count(*) FROM size_sample WHERE series NOT IN (SELECT id FROM size_series)";
    assert_eq!(count(orphans), 0);
    let now = start() + TimeDelta::days(399);
    let known = state.now(|c| trends::of(c, "a", now)).unwrap();
    let tables: Vec<&str> =
        known.iter().filter(|t| t.kind == Measure::Table).map(|t| t.name.as_str()).collect();
    assert_eq!(tables, ["t399"], "only what is there now is shown");
}

#[test]
fn a_clock_that_was_wrong_for_a_while_removes_nothing_but_its_own_samples() {
    let (_directory, state) = state();
    for n in 0..30 {
        record(&state, start() + TimeDelta::days(n), &file(1));
    }
    record(&state, start() + TimeDelta::days(30_000), &file(1));
    let back = start() + TimeDelta::days(30);
    record(&state, back, &file(1));
    let kept = samples(&state);
    assert_eq!((kept.len(), kept[0], kept[30]), (31, start(), back));
}

#[test]
fn a_table_dropped_while_the_clock_was_wrong_does_not_hide_those_that_there_are() {
    let (_directory, state) = state();
    let with = |table: &str| [file(1), vec![size(Measure::Table, table, 1)]].concat();
    record(&state, start() + TimeDelta::days(30_000), &with("dropped"));
    record(&state, start(), &with("living"));
    let known = state.now(|c| trends::of(c, "a", start())).unwrap();
    let tables: Vec<&str> =
        known.iter().filter(|t| t.kind == Measure::Table).map(|t| t.name.as_str()).collect();
    assert_eq!(tables, ["living"]);
}

#[test]
fn growth_is_told_only_with_three_days_of_samples_and_says_how_many_there_are() {
    let (_directory, state) = state();
    let told = |days| {
        let now = start() + TimeDelta::days(days);
        for hour in 0..6 {
            record(&state, now + TimeDelta::hours(hour), &file(u64::try_from(1000 * (days + 1)).unwrap()));
        }
        let known = content(&state, now + TimeDelta::hours(6));
        (known.days, known.bytes_per_day(), known.in_words())
    };
    assert_eq!(told(0), (1, None, "how fast it grows is told after 3 days; 1 day so far".to_owned()));
    assert_eq!(told(1), (2, None, "how fast it grows is told after 3 days; 2 days so far".to_owned()));
    let (days, growth, words) = told(2);
    assert_eq!((days, growth), (3, Some(1000.0)));
    assert_eq!(words, "grows by 1000 B a day, by the last 3 days");
}

#[test]
fn what_grows_faster_since_some_days_counts_by_those_and_what_shrinks_fills_no_disk() {
    let (_directory, state) = state();
    let mut bytes = 1_000_000;
    for day in 0..30 {
        bytes += if day < 20 { 1000 } else { 5000 };
        record(&state, start() + TimeDelta::days(day), &file(bytes));
    }
    let known = content(&state, start() + TimeDelta::days(29));
    assert_eq!(known.week_bytes_per_day, Some(5000.0));
    assert!(known.in_words().ends_with("a day, by the last 7 days"), "{}", known.in_words());
    assert!(known.month_bytes_per_day.unwrap() < 4000.0, "{known:?}");
    assert_eq!(known.seconds_until(50_000), Some(10.0 * 86_400.0));

    for day in 30..60 {
        bytes -= 1000;
        record(&state, start() + TimeDelta::days(day), &file(bytes));
    }
    let known = content(&state, start() + TimeDelta::days(59));
    assert_eq!((known.bytes_per_day(), known.seconds_until(50_000)), (Some(-1000.0), None));
    assert!(known.in_words().starts_with("shrinks by 1000 B a day"), "{}", known.in_words());
}

#[test]
fn free_pages_are_no_growth() {
    let (_directory, state) = state();
    for day in 0..10_u64 {
        // The file keeps its size, while its free pages are filled.
        let sizes = [size(Measure::File, "", 100_000), size(Measure::Free, "", 50_000 - 1000 * day)];
        record(&state, start() + TimeDelta::days(i64::try_from(day).unwrap()), &sizes);
    }
    assert_eq!(content(&state, start() + TimeDelta::days(9)).bytes_per_day(), Some(1000.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two days of thirty, such as an import and a VACUUM, do not bend it.
    #[test]
    fn growth_is_found_whatever_two_days_say(
        daily in 10_000_u64..1_000_000,
        odd in proptest::collection::vec((0_i64..30, 0_u64..1_000_000_000), 2),
        noise in proptest::collection::vec(0_u64..500, 30),
    ) {
        let (_directory, state) = state();
        for day in 0..30_i64 {
            let usual = 1_000_000 + daily * u64::try_from(day).unwrap() + noise[usize::try_from(day).unwrap()];
            let bytes = odd.iter().find(|(odd, _)| *odd == day).map_or(usual, |(_, bytes)| *bytes);
            record(&state, start() + TimeDelta::days(day), &file(bytes));
        }
        let month = content(&state, start() + TimeDelta::days(29)).month_bytes_per_day.unwrap();
        prop_assert!((month / daily as f64 - 1.0).abs() < 0.1, "{} for {}", month, daily);
    }
}

#[tokio::test]
async fn health_samples_the_file_its_tables_and_its_indexes() {
    let keeper = Keeper::new(Sandbox::new());
    // Who keeps it open, so that our closing it does not change the file.
    let _application = Application::start(&keeper.sandbox.database());
    keeper.run(Health).await;
    let of = |kind, name: &str| {
        let all: Vec<Trend> = keeper.fact(TRENDS).unwrap();
        all.into_iter().find(|trend| trend.kind == kind && trend.name == name).map(|trend| trend.bytes)
    };
    let size = |sql: &str| Some(crate::support::sql::value::<u64>(&keeper.sandbox.database(), sql));
    assert_eq!(
        of(Measure::Index, "idx_users_name"),
        size("SELECT sum(pgsize) FROM dbstat WHERE name = 'idx_users_name'")
    );
    let with_indexes = "SELECT sum(pgsize) FROM dbstat WHERE name IN \
                        (SELECT name FROM sqlite_schema WHERE tbl_name = 'users')";
    assert_eq!(of(Measure::Table, "users"), size(with_indexes));
    let pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    assert_eq!(of(Measure::File, ""), size(pages));

    // What nobody wrote to is sampled again all the same; what is gone is not.
    let of_index = "SELECT max(at) FROM size_sample WHERE series = (SELECT id FROM size_series WHERE name = 'idx_users_name')";
    let last = || keeper.state.now(|c| Ok(c.query_row(of_index, [], |row| row.get::<_, i64>(0))?)).unwrap();
    let before = last();
    keeper.run(Health).await;
    assert!(last() > before);
    edit(&keeper.sandbox.database(), "DROP INDEX idx_users_name");
    keeper.run(Health).await;
    assert_eq!(of(Measure::Index, "idx_users_name"), None);
}

#[tokio::test]
async fn health_and_status_tell_growth_and_when_the_disk_is_full() {
    let keeper = Keeper::new(Sandbox::new());
    keeper.sandbox.configure("");
    keeper.run(Health).await;
    assert!(keeper.check("table_sizes").1.contains("how fast it grows is told after 3 days; 1 day so far"));
    let now = litekeeper::clock::now();
    let held = trends_of(&keeper).iter().find(|t| t.kind == Measure::Content).unwrap().bytes;
    for ago in (1..10_u64).rev() {
        let at = now - TimeDelta::days(i64::try_from(ago).unwrap());
        let bytes = held - held / 20 * ago;
        let table = |name: &str, bytes| size(Measure::Table, name, bytes);
        let tables = [table("users", 100), table("attendance", 50_000_000 - 1_048_576 * ago)];
        let sizes = [&file(bytes)[..], &tables].concat();
        keeper.state.now(|c| trends::record(c, "attendance", at, &sizes)).unwrap();
    }
    keeper.run(Health).await;
    let (_, detail) = keeper.check("table_sizes");
    assert!(detail.contains("a day, by the last 10 days; at that rate its disk is full in"), "{detail}");

    let output = keeper.sandbox.litekeeper(&["--json", "status", "attendance"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let database = &status["databases"][0];
    let content = database["trends"].as_array().unwrap().iter().find(|t| t["kind"] == "content").unwrap();
    let grows = content["month_bytes_per_day"].as_f64().unwrap();
    let full = database["disk_full_seconds"].as_f64().unwrap();
    let room = disk_free(keeper.sandbox.path()).unwrap() as f64;
    assert!((full / (room / grows * 86_400.0) - 1.0).abs() < 0.1, "{full} {room} {grows}");
    let output = keeper.sandbox.litekeeper(&["status", "attendance"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words = "a day, by the last 10 days; most of all attendance, +1.0 MiB; the disk is full in";
    assert!(text.contains(words), "{text}");
}

fn trends_of(keeper: &Keeper) -> Vec<Trend> {
    keeper.fact(TRENDS).unwrap()
}

#[test]
fn a_memory_of_the_first_version_keeps_what_it_has_and_gets_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let first = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    first.execute_batch(include_str!("../../src/state/memory/schema.sql")).unwrap();
    first
        .execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO slow_statement VALUES ('a', 'SELECT ?', 'watch', 3, 3000000, 2000000, 1, 2, 3, 4, 0, 1);
             INSERT INTO fact VALUES ('a', 'size', '1', 0)",
        )
        .unwrap();
    drop(first);
    let state = State::open(directory.path()).unwrap();
    let slow = state.now(|c| litekeeper::state::slow::worst(c, "a", DateTime::UNIX_EPOCH, 9)).unwrap();
    assert_eq!((slow.len(), slow[0].count, slow[0].max_seconds), (1, 3, 2.0));
    assert_eq!((slow[0].p50_seconds, slow[0].plan.len()), (None, 0), "not counted then");
    assert_eq!(state.now(|c| facts::recall(c, "a", facts::Fact::<u32>::new("size"))).unwrap(), 1);
    record(&state, start(), &file(5));
    assert_eq!(content(&state, start()).bytes, 5);
}
