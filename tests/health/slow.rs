//! Slow statements: what is told of each shape, and that no value of any statement is told
//! anywhere.

use super::log::Log;
use crate::support::calls::OnThread as _;
use crate::support::counted;
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use litekeeper::pool::Call;
use litekeeper::queries::slow_log;
use litekeeper::state::slow;
use litekeeper::state::times::{ERROR, Times};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::fs;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The shortest that at least this share did not exceed.
fn exact(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let not_exceeded = |limit: &&Duration| {
        sorted.iter().filter(|t| t <= limit).count() as f64 >= share * sorted.len() as f64
    };
    sorted.iter().find(not_exceeded).unwrap().as_secs_f64()
}

fn counted_times(times: &[Duration]) -> Times {
    let mut all = Times::default();
    for time in times {
        all.add(*time);
    }
    all
}

/// Of all magnitudes from a microsecond to days.
fn duration() -> impl Strategy<Value = Duration> {
    (1.0_f64..1e6, 0_i32..7)
        .prop_map(|(micros, power)| Duration::from_secs_f64(micros * 10_f64.powi(power) / 1e6 / 10.0))
        .prop_map(|time| time.clamp(Duration::from_micros(1), Duration::from_secs(1_000_000)))
}

proptest! {
    #[test]
    fn quantiles_are_within_a_tenth_of_the_exact_ones(
        times in proptest::collection::vec(duration(), 1..200),
        share in 0.01_f64..=1.0,
    ) {
        let told = counted_times(&times).quantile(share).unwrap();
        let exact = exact(&times, share);
        prop_assert!((told / exact - 1.0).abs() <= ERROR + 1e-9, "{} for {}", told, exact);
    }

    #[test]
    fn two_counts_make_one(
        one in proptest::collection::vec(duration(), 0..50),
        other in proptest::collection::vec(duration(), 0..50),
    ) {
        let mut merged = counted_times(&one);
        merged.merge(&counted_times(&other));
        prop_assert_eq!(&merged, &counted_times(&[one, other].concat()));
        let text = serde_json::to_string(&merged).unwrap();
        prop_assert!(text.len() < 4096, "{}", text);
        prop_assert_eq!(serde_json::from_str::<Times>(&text).unwrap(), merged);
    }
}

#[test]
fn nothing_counted_has_no_quantile_and_what_is_out_of_range_is_counted_at_its_end() {
    assert_eq!(Times::default().quantile(0.5), None);
    let mut times = Times::default();
    times.add(Duration::ZERO);
    times.add(Duration::from_secs(u64::MAX));
    assert_eq!(times.count(), 2);
    assert!(times.quantile(0.0).unwrap() < 2e-6 && times.quantile(1.0).unwrap() > 1e6);
}

/// Letters that nothing else has, of one kind of case.
fn secret() -> impl Strategy<Value = String> {
    "[qxzj]{12}"
}

/// A statement with this secret in it, as data comes into a statement.
fn statement() -> impl Strategy<Value = (String, String)> {
    let forms: [fn(&str) -> String; 16] = [
        |s| format!("SELECT * FROM users WHERE name = '{s}'"),
        |s| format!("SELECT * FROM users WHERE name = 'O''{s}''; -- \"x\"'"),
        |s| format!("SELECT * FROM users WHERE name = \"{s}\""),
        |s| format!("SELECT * FROM users WHERE name = \"two {s}\""),
        |s| format!("SELECT * FROM users /* {s} */ WHERE id > 0 -- {s}"),
        |s| format!("SELECT name FROM users AS '{s}' WHERE name > ''"),
        |s| format!("SELECT name FROM users AS \"{s}\" ORDER BY email"),
        |s| format!("SELECT '{s}' AS a, count(*) FROM users GROUP BY name, a"),
        |s| format!("SELECT * FROM users WHERE name IN ('a', '{s}', 'b') ORDER BY '{s}' || name"),
        |s| format!("SELECT * FROM users WHERE name LIKE '{s}%' ESCAPE '\\'"),
        |s| format!("WITH c(n) AS (VALUES ('{s}'), ('b')) SELECT * FROM c, users WHERE users.name = n"),
        |s| format!("SELECT * FROM (SELECT name || '{s}' FROM users) AS '{s}' LIMIT 3"),
        |s| format!("UPDATE users SET name = name || '{s}' WHERE id = -1"),
        |s| format!("INSERT INTO users (name, created_at) SELECT '{s}', '' WHERE 0"),
        |s| format!("DELETE FROM users WHERE name = '{s}'"),
        |s| format!("SELECT json_extract('{{\"{s}\": 1}}', '$.{s}') FROM users"),
    ];
    (secret(), proptest::sample::select(forms.to_vec())).prop_map(|(secret, form)| (form(&secret), secret))
}

/// The same for numbers and blobs, which have digits.
fn number() -> impl Strategy<Value = (String, String)> {
    let digits = "[1-9]{11}";
    let forms: [fn(&str) -> String; 6] = [
        |n| format!("SELECT * FROM users WHERE id = {n}"),
        |n| format!("SELECT * FROM users WHERE id < -{n}.5e-3"),
        |n| format!("SELECT * FROM users WHERE name = x'{n}0'"),
        |n| format!("SELECT * FROM users LIMIT {n} OFFSET 1"),
        |n| format!("SELECT * FROM users WHERE id BETWEEN 0 AND 0x{n}"),
        |n| format!("SELECT name, {n} FROM users GROUP BY name HAVING count(*) > {n}"),
    ];
    (digits, proptest::sample::select(forms.to_vec())).prop_map(|(digits, form)| (form(&digits), digits))
}

#[tokio::test]
async fn no_value_of_a_statement_reaches_log_memory_or_metrics() {
    const DATABASE: &str = "discreet";
    let log = Log::of_this_process();
    counted::count(DATABASE, &["watch"], &[]);
    let mut keeper = Keeper::new(Sandbox::new());
    DATABASE.clone_into(&mut keeper.database.name);
    keeper.database.watch.slow_threshold = Duration::ZERO;
    let kept = tokio::spawn(slow_log::keep(keeper.state.clone(), keeper.slow_statements.take().unwrap()));

    let mut runner = TestRunner::new(Config::default());
    let mut statements = Vec::new();
    for strategy in [statement().boxed(), number().boxed()] {
        for _ in 0..150 {
            statements.push(strategy.new_tree(&mut runner).unwrap().current());
        }
    }
    let pool = keeper.pool();
    let call = Call::new("watch", &CancellationToken::new(), None);
    for (sql, _) in &statements {
        let text = sql.clone();
        let done = pool.on_thread(&call, move |c| {
            let mut statement = c.prepare(&text)?;
            let mut rows = statement.raw_query();
            while rows.next()?.is_some() {}
            Ok(())
        });
        done.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let (state, directory) = (keeper.state.clone(), keeper.sandbox.state());
    pool.close();
    drop(pool);
    let sandbox = keeper.sandbox;
    drop(keeper.slow);
    kept.await.unwrap();

    let shapes = state.now(|c| slow::worst(c, DATABASE, chrono::DateTime::UNIX_EPOCH, 1000)).unwrap();
    let planned = shapes.iter().filter(|shape| !shape.plan.is_empty()).count();
    assert!(planned > 15, "{planned} of {} have a plan", shapes.len());
    let plans = shapes.iter().flat_map(|shape| &shape.plan).map(|line| line.trim_start()).collect::<Vec<_>>();
    assert!(plans.contains(&"SEARCH users USING INDEX idx_users_name (name=?)"), "{plans:?}");

    let mut told = vec![("log", log.bytes()), ("metrics", counted::so_far_as_text().into_bytes())];
    for file in fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()) {
        told.push(("memory", fs::read(file).unwrap()));
    }
    assert!(told.iter().all(|(_, bytes)| bytes.len() > 1000), "there is something to look at");
    let own = log.lines(&["slow statement", &format!("database=\"{DATABASE}\"")]);
    assert!(own.concat().len() > 1000, "and not of other tests alone: {own:?}");
    for (sql, secret) in &statements {
        for (place, bytes) in &told {
            let found =
                bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!found, "{secret} of {sql} is in the {place}");
        }
    }
    drop(sandbox);
}

#[test]
fn slow_lists_shapes_by_total_time_and_shows_one_with_its_plan() {
    let sandbox = Sandbox::new();
    sandbox.configure("[watch]\nslow_threshold = \"1ms\"\n");
    let state = litekeeper::state::State::open(&sandbox.state()).unwrap();
    let record = |shape: &str, millis, plan: &[&str]| {
        let execution = slow::Execution {
            database: "attendance".to_owned(),
            job: "watch",
            shape: shape.to_owned(),
            at: litekeeper::clock::now(),
            duration: Duration::from_millis(millis),
            vm_steps: 1000,
            full_scan_steps: 300,
            sorts: 1,
            automatic_indexes: 7,
            plan: Some(plan.iter().map(|&line| line.to_owned()).collect()),
        };
        state.now(|c| slow::record(c, &execution)).unwrap();
    };
    for millis in (1..=100).map(|n| n * 10) {
        record("SELECT * FROM t WHERE a = ?", millis, &["SEARCH t USING INDEX i (a=?)"]);
    }
    record("SELECT * FROM t WHERE a = ?", 10, &["SCAN t", "USE TEMP B-TREE FOR ORDER BY"]);
    record("VACUUM", 90_000, &[]);

    let json = |arguments: &[&str]| -> Value {
        let output = sandbox.litekeeper(&[&["--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let all = json(&["slow", "attendance"]);
    assert_eq!(
        (&all[0]["shape"], &all[1]["shape"]),
        (&"VACUUM".into(), &"SELECT * FROM t WHERE a = ?".into())
    );
    let one = &all[1];
    let within = |field: &str, exact: f64| {
        let told = one[field].as_f64().unwrap();
        assert!((told / exact - 1.0).abs() <= 0.1, "{field} {told}");
    };
    within("p50_seconds", 0.5);
    within("p95_seconds", 0.95);
    let numbers = ["count", "vm_steps", "full_scan_steps", "sorts", "automatic_indexes"];
    let numbers = numbers.map(|field| one[field].as_u64().unwrap());
    assert_eq!(numbers, [101, 101_000, 30_300, 101, 707]);
    assert_eq!(
        one["plan"],
        serde_json::json!(["SCAN t", "USE TEMP B-TREE FOR ORDER BY"]),
        "that of the last time"
    );

    let id = one["id"].as_str().unwrap();
    assert_eq!(json(&["slow", "attendance", "--shape", id]), *one);
    let text = |arguments: &[&str]| String::from_utf8(sandbox.litekeeper(arguments).stdout).unwrap();
    let list = text(&["slow"]);
    assert!(list.lines().nth(2).unwrap().starts_with(id), "{list}");
    let shown = text(&["slow", "--shape", id]);
    for words in ["SELECT * FROM t WHERE a = ?", "101,000, 1,000 each time", "  SCAN t\n", "101 times"] {
        assert!(shown.contains(words), "{words:?} is not in {shown}");
    }
    let none = sandbox.litekeeper(&["slow", "--shape", "nothing"]);
    assert_eq!(none.status.code(), Some(10));
}
