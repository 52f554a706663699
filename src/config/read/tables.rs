//! One function for each table of the file: lays what the file says over the values that hold
//! without it. The keys and their limits are here; which layer comes over which is `resolve`'s.

use std::time::Duration;

use super::defaults::threads;
use super::file::Table;
use super::place::place;
use super::value::{
    at_least, auto_or_path, between, blackout, choice, count, flag, hosts, listen, path, rate, schedule,
    share, size,
};
use crate::config::{
    Analyze, Backup, Cleanup, Compression, Daemon, Health, Integrity, Keep, LogFormat, Maintain, Pool,
    Reindex, RowidPolicy, Vacuum, Verify, Watch, When,
};

const INSTANT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// `[daemon]` but for its zone.
pub(in crate::config) fn daemon(t: &mut Table<'_>, daemon: &mut Daemon) {
    t.set("state_dir", path, &mut daemon.state_dir);
    t.set("listen", listen, &mut daemon.listen);
    t.set("hosts", hosts, &mut daemon.hosts);
    t.set("parallel_jobs", count(1..=256), &mut daemon.parallel_jobs);
    t.set("jobs_per_disk", count(0..=256), &mut daemon.jobs_per_disk);
    t.set("shutdown_grace", at_least(Duration::ZERO), &mut daemon.shutdown_grace);
    t.set(
        "log_format",
        choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        &mut daemon.log_format,
    );
}

/// `[pool]`.
pub(in crate::config) fn pool(t: &mut Table<'_>, pool: &mut Pool) {
    t.set("size", count(1..=1000), &mut pool.size);
    t.set("idle", between(INSTANT, HOUR), &mut pool.idle);
    t.set("max_overflow", count(0..=1000), &mut pool.max_overflow);
    t.set("timeout", at_least(INSTANT), &mut pool.timeout);
    t.set("recycle", at_least(SECOND), &mut pool.recycle);
    t.set("retries", count(1..=1000), &mut pool.retries);
    t.set("retry_delay", between(Duration::ZERO, HOUR), &mut pool.retry_delay);
    // A busy wait cannot be interrupted: it delays every stop by its whole length.
    t.set("busy_timeout", between(Duration::ZERO, HOUR), &mut pool.busy_timeout);
    t.set("pause_timeout", between(Duration::ZERO, HOUR), &mut pool.pause_timeout);
}

/// The keys of every job, with what stands before their names.
fn when(t: &mut Table<'_>, prefix: &str, when: &mut When) {
    let key = |name: &str| format!("{prefix}{name}");
    t.set(&key("schedule"), schedule, &mut when.schedule);
    t.set(&key("catch_up"), flag, &mut when.catch_up);
    t.set(&key("jitter"), at_least(Duration::ZERO), &mut when.jitter);
    t.set(&key("timeout"), at_least(SECOND), &mut when.timeout);
}

/// The same of a job that reads or writes much.
fn when_heavy(t: &mut Table<'_>, prefix: &str, when: &mut When) {
    self::when(t, prefix, when);
    t.set(&format!("{prefix}blackout"), blackout, &mut when.blackout);
}

/// `[maintain]`.
pub(in crate::config) fn maintain(t: &mut Table<'_>, maintain: &mut Maintain) {
    when_heavy(t, "", &mut maintain.when);
    let words = [
        ("auto", Vacuum::Auto),
        ("incremental", Vacuum::Incremental),
        ("always", Vacuum::Always),
        ("never", Vacuum::Never),
    ];
    t.set("vacuum", choice(&words), &mut maintain.vacuum);
    t.set("vacuum_min_free", share, &mut maintain.vacuum_min_free);
    t.set("vacuum_min_size", size, &mut maintain.vacuum_min_size);
    let words = [("keep", RowidPolicy::Keep), ("renumber", RowidPolicy::Renumber)];
    t.set("vacuum_rowids", choice(&words), &mut maintain.vacuum_rowids);
    let words = [("auto", Analyze::Auto), ("always", Analyze::Always), ("never", Analyze::Never)];
    t.set("analyze", choice(&words), &mut maintain.analyze);
    let words = [("auto", Reindex::Auto), ("always", Reindex::Always), ("never", Reindex::Never)];
    t.set("reindex", choice(&words), &mut maintain.reindex);
    t.set("max_block", at_least(INSTANT), &mut maintain.max_block);
    t.set("max_wal", size, &mut maintain.max_wal);
}

/// `[backup]`.
pub(in crate::config) fn backup(t: &mut Table<'_>, backup: &mut Backup) {
    when_heavy(t, "", &mut backup.when);
    t.set("dir", place, &mut backup.dir);
    let words = Compression::ALL.map(|format| (format.as_str(), format));
    t.set("compression", choice(&words), &mut backup.compression);
    // Which of them the format has depends on both keys: see `validate`.
    t.set("level", count(1..=19), &mut backup.level);
    if let Some(configured) = t.get("threads", count(0..=64)) {
        backup.threads = threads(configured);
    }
    t.set("max_snapshot", at_least(INSTANT), &mut backup.max_snapshot);
    t.set("skip_unchanged", flag, &mut backup.skip_unchanged);
    t.set("max_rate", rate, &mut backup.max_rate);
    keep(t, &mut backup.keep);
}

/// The keys of a rotation policy.
pub(in crate::config) fn keep(t: &mut Table<'_>, keep: &mut Keep) {
    for (key, target) in [
        ("keep_last", &mut keep.last),
        ("keep_hourly", &mut keep.hourly),
        ("keep_daily", &mut keep.daily),
        ("keep_weekly", &mut keep.weekly),
        ("keep_monthly", &mut keep.monthly),
        ("keep_yearly", &mut keep.yearly),
    ] {
        t.set(key, count(0..=1_000_000), target);
    }
}

/// `[verify]`.
pub(in crate::config) fn verify(t: &mut Table<'_>, verify: &mut Verify) {
    when_heavy(t, "", &mut verify.when);
    if let Some(directory) = t.get("scratch_dir", auto_or_path) {
        verify.scratch_dir = directory;
    }
}

/// `[cleanup]` but for its rules.
pub(in crate::config) fn cleanup(t: &mut Table<'_>, cleanup: &mut Cleanup) {
    when_heavy(t, "", &mut cleanup.when);
    t.set("batch_target", at_least(INSTANT), &mut cleanup.batch_target);
    t.set("max_share", share, &mut cleanup.max_share);
}

/// `[health]`.
pub(in crate::config) fn health(t: &mut Table<'_>, health: &mut Health) {
    when(t, "", &mut health.when);
    when_heavy(t, "integrity_", &mut health.integrity_when);
    t.set(
        "integrity",
        choice(&[("quick", Integrity::Quick), ("full", Integrity::Full)]),
        &mut health.integrity,
    );
}

/// `[watch]` but for its queries.
pub(in crate::config) fn watch(t: &mut Table<'_>, watch: &mut Watch) {
    when(t, "", &mut watch.when);
    t.set("slow_threshold", at_least(Duration::ZERO), &mut watch.slow_threshold);
}
