//! How large the memory of one database gets: the figure of docs/limits.md.

use chrono::{DateTime, TimeDelta, Utc};
use litekeeper::state::State;
use litekeeper::state::runs::{self, Ending};
use litekeeper::state::slow::{self, Execution};
use litekeeper::state::trends::{self, Measure, SAMPLED, Size};
use litekeeper::terms::{Cause, JobKind, Outcome};
use std::fs;
use std::time::Duration;

/// What docs/limits.md says of one database after a year, and of however many years.
const LIMIT: u64 = 2 << 20;

/// More of each than is kept: another year adds nothing.
const RUNS: i64 = 400;
const DAYS: i64 = 400;
const SHAPES: i64 = 250;

#[test]
fn after_a_year_the_memory_of_a_database_is_within_what_is_documented() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    state.now(|c| Ok(c.pragma_update(None, "synchronous", "off")?)).unwrap();
    let start: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let checks: Vec<_> =
        (0..10).map(|n| serde_json::json!({ "check": n, "detail": "x".repeat(200) })).collect();
    let ending = |outcome| Ending {
        outcome,
        reason: None,
        summary: "x".repeat(200),
        detail: match outcome {
            Outcome::Skipped => serde_json::Value::Null,
            _ => serde_json::json!({ "checks": checks }),
        },
    };
    for n in 0..RUNS {
        let at = start + TimeDelta::hours(n);
        for kind in JobKind::SCHEDULED {
            for outcome in [Outcome::Success, Outcome::Skipped] {
                let made = state.now(|c| {
                    let id = runs::begin(c, "a", kind, Cause::Schedule, at)?;
                    runs::end(c, id, at, &ending(outcome))
                });
                made.unwrap();
            }
        }
    }
    let size = |kind, name: String, bytes| Size { kind, name, bytes };
    for day in 0..DAYS {
        for hour in if day > DAYS - 4 { 0..24 } else { 0..2 } {
            let tables =
                (0..SAMPLED / 2).map(|n| size(Measure::Table, format!("a_table_of_number_{n}"), 1 << 30));
            let indexes =
                (0..SAMPLED / 2).map(|n| size(Measure::Index, format!("an_index_of_number_{n}"), 1 << 30));
            let whole =
                [size(Measure::File, String::new(), 1 << 40), size(Measure::Free, String::new(), 1 << 30)];
            let all: Vec<Size> = whole.into_iter().chain(tables).chain(indexes).collect();
            let at = start + TimeDelta::days(day) + TimeDelta::hours(hour);
            state.now(|c| trends::record(c, "a", at, &all)).unwrap();
        }
    }
    for n in 0..SHAPES {
        let execution = Execution {
            database: "a".to_owned(),
            job: JobKind::Watch.as_str(),
            shape: format!("SELECT {n}, {}", "a_column, ".repeat(100)),
            at: start,
            duration: Duration::from_secs(2),
            vm_steps: 1,
            full_scan_steps: 1,
            sorts: 1,
            automatic_indexes: 0,
            plan: Some(vec!["SCAN a_table_of_some_name USING INDEX an_index_of_some_name".to_owned(); 8]),
        };
        state.now(|c| slow::record(c, &execution)).unwrap();
    }
    state.now(|c| Ok(c.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?)).unwrap();
    let bytes = fs::metadata(directory.path().join("state.db")).unwrap().len();
    println!("state.db has {bytes} bytes after a year of one database");
    assert!(bytes <= LIMIT, "{bytes} bytes");
    let counted: i64 =
        state.now(|c| Ok(c.query_row("SELECT count(*) FROM run", [], |row| row.get(0))?)).unwrap();
    assert_eq!(counted, i64::try_from(JobKind::SCHEDULED.len()).unwrap() * (300 + 50));
}
