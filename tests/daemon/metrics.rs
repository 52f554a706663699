//! The page that Prometheus scrapes, read with a strict parser of our own and, where it is
//! installed, with promtool.

use super::page::{parse, value};
use chrono::{DateTime, TimeZone, Utc};
use litekeeper::metrics::events::*;
use litekeeper::metrics::names::{self, MetricKind};
use litekeeper::metrics::{Expected, Format, Metrics};
use litekeeper::terms::{Outcome, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const JOBS: &[&str] = &["backup", "verify", "cleanup", "maintain", "health", "integrity", "watch"];

fn at(second: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_700_000_000 + second, 0).unwrap()
}

fn metrics_of(databases: &[&str]) -> Metrics {
    let metrics = Metrics::new("1.2.3", "3.53.2");
    for name in databases {
        metrics.add_database(
            name,
            Expected {
                jobs: JOBS,
                tables: &["attendance"],
                queries: &["todays_attendance"],
                copies: &["offsite"],
            },
        );
    }
    metrics
}

/// Emits every event that there is once, for one database.
fn everything(db: &str) {
    let (database, job) = (db, "backup");
    let second = Duration::from_secs(1);
    let path = Path::new("/etc/litekeeper/litekeeper.toml");
    ConfigLoaded { path, databases: 1, at: at(0) }.emit();
    ConfigReloaded { path, changes: "nothing changed", at: at(1) }.emit();
    ConfigRejected { path, report: "3:7: unknown key" }.emit();
    ConfigInForce { since: at(1) }.emit();
    StateKept { is_kept: true }.emit();
    JobStarted { database, job, run: 1 }.emit();
    let (outcome, reason, summary) = (Outcome::Success, None, "ok");
    JobFinished { database, job, run: 1, outcome, reason, summary, duration: second, at: at(2) }.emit();
    JobSkipped { database, job, because: "the run before is still at work" }.emit();
    JobScheduled { database, job, next: Some(at(3600)) }.emit();
    JobSucceededBefore { database, job: "verify", at: Some(at(0)) }.emit();
    PoolGauges { database, idle: 2, in_use: 1, max: 15, waiting: 0 }.emit();
    PoolWaited { database, waited: Duration::from_millis(2) }.emit();
    PoolTimedOut { database, waited: second, attempt: 1 }.emit();
    PoolRecycled { database, connections: 2 }.emit();
    BusyRetry { database, job, attempt: 1 }.emit();
    QueryTimed { database, job, duration: Duration::from_micros(700) }.emit();
    WritersHeld { database, job, duration: Duration::from_millis(4) }.emit();
    SlowQuery { database, job, shape: "SELECT ?", duration: second, vm_steps: 9 }.emit();
    SlowQueriesDropped { database, statements: 3 }.emit();
    WatchTimed { database, query: "todays_attendance", duration: second }.emit();
    PlanChanged { database, query: "todays_attendance", before: "SEARCH", after: "SCAN", scans: "t" }.emit();
    let table = TableSize { table: "attendance", bytes: Some(4096), rows: Some(12) };
    Sizes { database, file: 8192, free: Some(0), wal: 0, tables: Some(&[table]) }.emit();
    Growth { database, bytes_per_day: Some(1e6), disk_full_seconds: Some(86_400.0) }.emit();
    LogPinnedFor { database, seconds: 12.5 }.emit();
    LogPinned { database, wal_bytes: 9, seconds: 12.5, by: "process 1" }.emit();
    LogFreed { database, seconds: 20.0 }.emit();
    Check { database, check: "integrity", verdict: Verdict::Good }.emit();
    DatabaseDamaged { database, is_damaged: false }.emit();
    IndexProblems { database, problems: &[("idx_a", "missing")] }.emit();
    DiskFree { database, data: Some(1), backup: Some(2) }.emit();
    let (newest, newest_verified) = (Some(at(2)), Some(at(1)));
    let (count, damaged) = (3, 1);
    Backups { database, count, damaged, newest, raw_bytes: Some(9), stored_bytes: Some(5), newest_verified }
        .emit();
    BackupCopy { database, copy: "offsite", count: Some(3), newest }.emit();
    BackupCopyFailed { database, copy: "offsite" }.emit();
    Cleaned { database, table: "attendance", rows: 1204 }.emit();
    Reclaimed { database, bytes: 65536 }.emit();
}

/// Label values of all series of a gauge or counter, database left out.
fn shown(page: &str, family: &str, label: &str) -> Vec<String> {
    let families = parse(page, Format::Text);
    families.get(family).map_or(Vec::new(), |f| f.samples.iter().map(|s| s.1[label].clone()).collect())
}

fn with_everything() -> Metrics {
    let metrics = metrics_of(&["attendance", "billing"]);
    metrics::with_local_recorder(&metrics, || {
        everything("attendance");
        everything("billing");
    });
    metrics
}

#[test]
fn every_metric_of_the_table_is_on_the_page_with_its_help_type_and_labels() {
    let page = with_everything().render(Format::Text);
    let families = parse(&page, Format::Text);
    assert_eq!(families.len(), names::ALL.len());
    for metric in names::ALL {
        let family = families.get(metric.name).unwrap_or_else(|| panic!("{} is missing", metric.name));
        assert!(page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)));
        let kind = if metric.kind == MetricKind::Info { "gauge" } else { metric.kind.as_str() };
        assert_eq!(family.kind, kind, "{}", metric.name);
        for (name, labels, _) in &family.samples {
            let mut expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
            if name.ends_with("_bucket") {
                expected.insert("le");
            }
            assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{name}");
        }
    }
}

#[test]
fn no_label_is_one_that_a_prometheus_server_sets_itself() {
    // It renames such a label to `exported_…`, unless told otherwise by `honor_labels`:
    // https://prometheus.io/docs/concepts/jobs_instances/
    let page = with_everything().render(Format::Text);
    for (name, family) in &parse(&page, Format::Text) {
        for (_, labels, _) in &family.samples {
            let own =
                labels.keys().find(|l| ["job", "instance"].contains(&l.as_str()) || l.starts_with("__"));
            assert_eq!(own, None, "{name} {labels:?}");
        }
    }
}

#[test]
fn buckets_rise_and_end_with_the_count() {
    let families = parse(&with_everything().render(Format::Text), Format::Text);
    let mut histograms = 0;
    for (name, family) in families.iter().filter(|(_, f)| f.kind == "histogram") {
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, labels, value) in &family.samples {
            let mut labels = labels.clone();
            if sample.ends_with("_bucket") {
                let le = labels.remove("le").unwrap().parse().unwrap();
                series.entry(labels).or_default().push((le, *value));
            }
        }
        for (labels, buckets) in series {
            histograms += 1;
            assert!(buckets.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{name} {labels:?}");
            let count = family.samples.iter().find(|s| s.0.ends_with("_count") && s.1 == labels).unwrap().2;
            assert!(buckets.last().unwrap().0.is_infinite());
            assert!((buckets.last().unwrap().1 - count).abs() < 0.5, "{name} {labels:?}");
        }
    }
    // Of two databases: a run, a statement and a hold of each job, a wait for the pool and a
    // watched query.
    assert_eq!(histograms, 2 * (JOBS.len() * 3 + 2));
}

#[test]
fn every_counter_of_a_database_is_there_at_zero_before_anything_happens() {
    let page = metrics_of(&["attendance"]).render(Format::Text);
    let families = parse(&page, Format::Text);
    for metric in names::ALL.iter().filter(|m| m.kind == MetricKind::Counter) {
        let family = families.get(metric.name).unwrap_or_else(|| panic!("{} is missing", metric.name));
        assert!(family.samples.iter().all(|s| s.2 == 0.0), "{}", metric.name);
    }
    let runs: BTreeSet<(String, String)> = families["litekeeper_job_runs_total"]
        .samples
        .iter()
        .map(|(_, l, _)| (l["task"].clone(), l["outcome"].clone()))
        .collect();
    assert_eq!(runs.len(), JOBS.len() * 4);
    for outcome in ["success", "failure"] {
        assert_eq!(value(&page, "litekeeper_config_reloads_total", &[("outcome", outcome)]), Some(0.0));
    }
}

#[test]
fn a_removed_database_leaves_the_page_and_late_work_does_not_bring_it_back() {
    let metrics = with_everything();
    assert!(metrics.render(Format::Text).contains("database=\"billing\""));
    metrics.remove_database("billing");
    metrics::with_local_recorder(&metrics, || everything("billing"));
    let page = metrics.render(Format::Text);
    assert!(!page.contains("billing"));
    assert!(page.contains("database=\"attendance\""));
}

#[test]
fn a_database_that_comes_back_starts_at_zero() {
    let metrics = with_everything();
    let labels = &[("database", "billing"), ("table", "attendance")];
    assert_eq!(value(&metrics.render(Format::Text), "litekeeper_cleanup_rows_total", labels), Some(1204.0));
    metrics.remove_database("billing");
    metrics
        .add_database("billing", Expected { jobs: JOBS, tables: &["attendance"], queries: &[], copies: &[] });
    assert_eq!(value(&metrics.render(Format::Text), "litekeeper_cleanup_rows_total", labels), Some(0.0));
}

#[test]
fn adding_a_database_again_adds_what_is_new_and_resets_nothing() {
    let metrics = with_everything();
    metrics.add_database(
        "billing",
        Expected { jobs: JOBS, tables: &["attendance", "logins"], queries: &[], copies: &[] },
    );
    let page = metrics.render(Format::Text);
    let of =
        |table| value(&page, "litekeeper_cleanup_rows_total", &[("database", "billing"), ("table", table)]);
    assert_eq!((of("attendance"), of("logins")), (Some(1204.0), Some(0.0)));
}

#[test]
fn what_cannot_be_told_is_absent() {
    let metrics = metrics_of(&["unsure"]);
    let check = |verdict| Check { database: "unsure", check: "integrity", verdict };
    let emit = |verdict| metrics::with_local_recorder(&metrics, || check(verdict).emit());
    let healthy = || {
        let labels = &[("database", "unsure"), ("check", "integrity")];
        value(&metrics.render(Format::Text), "litekeeper_healthy", labels)
    };
    assert_eq!(healthy(), None);
    emit(Verdict::Bad);
    assert_eq!(healthy(), Some(0.0));
    emit(Verdict::Unknown);
    assert_eq!(healthy(), None);
    assert!(!metrics.render(Format::OpenMetrics).contains("NaN"));
    emit(Verdict::Good);
    assert_eq!(healthy(), Some(1.0));
}

#[test]
fn solved_index_problems_and_dropped_tables_leave_the_page() {
    let metrics = metrics_of(&["changing"]);
    let database = "changing";
    let table = |table| TableSize { table, bytes: Some(1), rows: None };
    metrics::with_local_recorder(&metrics, || {
        IndexProblems { database, problems: &[("idx_a", "missing"), ("idx_b", "damaged")] }.emit();
        Sizes { database, file: 1, free: None, wal: 0, tables: Some(&[table("a"), table("b")]) }.emit();
    });
    let page = metrics.render(Format::Text);
    assert_eq!(shown(&page, "litekeeper_index_problems", "index"), ["idx_a", "idx_b"]);
    assert_eq!(shown(&page, "litekeeper_table_size_bytes", "table"), ["a", "b"]);
    assert_eq!(shown(&page, "litekeeper_table_rows", "table"), [""; 0]);
    metrics::with_local_recorder(&metrics, || {
        IndexProblems { database, problems: &[("idx_b", "damaged")] }.emit();
        Sizes { database, file: 1, free: None, wal: 0, tables: Some(&[table("b")]) }.emit();
    });
    let page = metrics.render(Format::Text);
    assert_eq!(shown(&page, "litekeeper_index_problems", "index"), ["idx_b"]);
    assert_eq!(shown(&page, "litekeeper_table_size_bytes", "table"), ["b"]);
    metrics::with_local_recorder(&metrics, || {
        Sizes { database, file: 1, free: None, wal: 0, tables: None }.emit();
    });
    let page = metrics.render(Format::Text);
    assert_eq!(shown(&page, "litekeeper_table_size_bytes", "table"), ["b"], "not measured is not gone");
}

#[test]
fn names_with_quotes_backslashes_and_line_feeds_stay_apart() {
    let names = [
        "plain",
        "qu\"ote",
        "back\\slash",
        "back\\\\slash",
        "both\\\"",
        "both\"",
        "line\nfeed",
        "a\\\nb",
        "le=\"1\"",
    ];
    let metrics = metrics_of(&["odd\\\"db"]);
    let tables: Vec<_> = names.iter().map(|t| TableSize { table: t, bytes: Some(1), rows: None }).collect();
    metrics::with_local_recorder(&metrics, || {
        Sizes { database: "odd\\\"db", file: 1, free: None, wal: 0, tables: Some(&tables) }.emit();
    });
    let page = metrics.render(Format::Text);
    let found: BTreeSet<String> = shown(&page, "litekeeper_table_size_bytes", "table").into_iter().collect();
    assert_eq!(found, names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(value(&page, "litekeeper_database_size_bytes", &[("database", "odd\\\"db")]), Some(1.0));
}

#[test]
fn open_metrics_ends_with_eof_and_names_counters_without_total() {
    let page = with_everything().render(Format::OpenMetrics);
    let families = parse(&page, Format::OpenMetrics);
    assert_eq!(families["litekeeper_job_runs"].kind, "counter");
    assert_eq!(families["litekeeper_build"].kind, "info");
    assert!(!families.keys().any(|name| name.ends_with("_total")));
    assert!(page.contains("# UNIT litekeeper_reclaimed_bytes bytes\n"));
    assert!(page.contains("le=\"1.0\"") && !page.contains("le=\"1\""));
}

#[test]
fn a_name_outside_the_table_never_reaches_the_page() {
    let metrics = metrics_of(&["attendance"]);
    metrics::with_local_recorder(&metrics, || {
        metrics::counter!("someone_elses_total", "database" => "attendance").increment(1);
        metrics::gauge!("someone_elses").set(1);
    });
    assert!(!metrics.render(Format::Text).contains("someone"));
}

#[test]
fn upkeep_loses_no_sample() {
    let metrics = metrics_of(&["attendance"]);
    let emit =
        || QueryTimed { database: "attendance", job: "watch", duration: Duration::from_millis(3) }.emit();
    metrics::with_local_recorder(&metrics, emit);
    metrics.upkeep();
    metrics::with_local_recorder(&metrics, emit);
    let labels = &[("database", "attendance"), ("task", "watch")];
    let page = metrics.render(Format::Text);
    assert_eq!(value(&page, "litekeeper_query_duration_seconds_count", labels), Some(2.0));
}

#[test]
fn the_accept_header_decides_the_format() {
    use Format::{OpenMetrics, Text};
    let cases = [
        (None, Text),
        (Some("*/*"), Text),
        (Some("text/plain"), Text),
        (Some("application/openmetrics-text"), OpenMetrics),
        (Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), OpenMetrics),
        // What Prometheus 2.42 sends.
        (
            Some(
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            OpenMetrics,
        ),
        (Some("application/openmetrics-text;q=0.3,text/plain;q=0.5"), Text),
        (Some("text/plain;q=0.3, Application/OpenMetrics-Text;q=0.5"), OpenMetrics),
        (Some("application/openmetrics-text;q=0"), Text),
        (Some("application/openmetrics-text;version=0.0.1"), Text),
        (Some("application/openmetrics-text;q=junk"), Text),
    ];
    for (accept, format) in cases {
        assert_eq!(Format::negotiate(accept), format, "{accept:?}");
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    let spawned = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        assert!(std::env::var_os("CI").is_none(), "{promtool} cannot be run, and CI skips nothing");
        eprintln!("SKIPPED: promtool is not on PATH (Debian package prometheus), nor named by PROMTOOL");
        return;
    };
    child.stdin.take().unwrap().write_all(with_everything().render(Format::Text).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "promtool says:\n{said}");
}
