//! The one table of metrics: every name, label and HELP text of the program, and no other file
//! holds any. Labels are never SQL text, paths or error texts: each value must come from a small,
//! known set.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};

/// What a metric is, in Prometheus' terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only grows, until the daemon starts anew.
    Counter,
    /// The state now. Set to NaN, the series is absent from the page.
    Gauge,
    /// A gauge that is always 1 and whose labels are the facts.
    Info,
    /// Counts by upper bound, in seconds.
    Histogram(&'static [f64]),
}

impl MetricKind {
    /// The word in the reference and, but for `info`, in the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The whole name, with its unit and `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// The HELP text.
    pub help: &'static str,
}

/// The label that decides whose series it is.
pub const DATABASE: &str = "database";

/// A job takes from hundredths of a second (health) to hours (VACUUM of a large file).
const JOB_SECONDS: &[f64] =
    &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0];

/// A statement, or the wait for a connection, takes from half a millisecond to the usual timeouts.
const QUERY_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Writers are to be held up for milliseconds; a VACUUM holds them for as long as `max_block`
/// allows.
const HOLD_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

macro_rules! table {
    ($($id:ident = $kind:expr, $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub const $id: Metric = Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help };
        )*
        /// Every metric that the program has. A name that is not here never reaches the page.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

table! {
    BUILD_INFO = MetricKind::Info, "litekeeper_build_info" ["version", "sqlite_version"]
        "Version of litekeeper and of the SQLite in it; always 1.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = MetricKind::Gauge, "litekeeper_config_last_reload_successful" []
        "Whether the last load or reload of the configuration succeeded (1) or the old one stays in force (0).";
    CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP = MetricKind::Gauge, "litekeeper_config_last_reload_success_timestamp_seconds" []
        "Unix time at which the configuration in force was loaded.";
    CONFIG_RELOADS = MetricKind::Counter, "litekeeper_config_reloads_total" ["outcome"]
        "Reloads of the configuration by outcome (success, failure).";
    STATE_WRITABLE = MetricKind::Gauge, "litekeeper_state_writable" []
        "Whether the run history can be written (1) or runs go on without it (0).";

    JOB_RUNS = MetricKind::Counter, "litekeeper_job_runs_total" ["database", "task", "outcome"]
        "Job runs by outcome (success, failure, skipped, interrupted).";
    JOB_DURATION = MetricKind::Histogram(JOB_SECONDS), "litekeeper_job_duration_seconds" ["database", "task"]
        "How long job runs took, whatever their outcome.";
    JOB_RUNNING = MetricKind::Gauge, "litekeeper_job_running" ["database", "task"]
        "Whether the job is running now (1) or not (0).";
    JOB_LAST_SUCCESS = MetricKind::Gauge, "litekeeper_job_last_success_timestamp_seconds" ["database", "task"]
        "Unix time at which the job last ended well; absent when it never did.";
    JOB_NEXT_RUN = MetricKind::Gauge, "litekeeper_job_next_run_timestamp_seconds" ["database", "task"]
        "Unix time at which the job is due next; absent when it is not scheduled.";

    POOL_CONNECTIONS = MetricKind::Gauge, "litekeeper_pool_connections" ["database", "state"]
        "Open connections of the pool by state (idle, in_use).";
    POOL_MAX_CONNECTIONS = MetricKind::Gauge, "litekeeper_pool_max_connections" ["database"]
        "Most connections that the pool opens: size and max_overflow together.";
    POOL_WAITING = MetricKind::Gauge, "litekeeper_pool_waiting" ["database"]
        "Callers that wait for a connection now.";
    POOL_WAIT = MetricKind::Histogram(QUERY_SECONDS), "litekeeper_pool_wait_seconds" ["database"]
        "How long callers waited for a connection.";
    POOL_TIMEOUTS = MetricKind::Counter, "litekeeper_pool_timeouts_total" ["database"]
        "Callers that got no connection within pool.timeout.";
    POOL_RECYCLED = MetricKind::Counter, "litekeeper_pool_recycled_total" ["database"]
        "Connections replaced because they were older than pool.recycle or no longer worked.";
    BUSY_RETRIES = MetricKind::Counter, "litekeeper_busy_retries_total" ["database"]
        "Times that a statement found the database locked by the application and was tried again.";

    QUERY_DURATION = MetricKind::Histogram(QUERY_SECONDS), "litekeeper_query_duration_seconds" ["database", "task"]
        "How long litekeeper's own statements took, by the job that ran them.";
    WRITE_HOLD = MetricKind::Histogram(HOLD_SECONDS), "litekeeper_write_hold_seconds" ["database", "task"]
        "How long litekeeper kept the application's writers out, each time it did.";
    SLOW_QUERIES = MetricKind::Counter, "litekeeper_slow_queries_total" ["database", "task"]
        "Statements slower than watch.slow_threshold.";
    SLOW_QUERIES_DROPPED = MetricKind::Counter, "litekeeper_slow_queries_dropped_total" ["database"]
        "Statements slower than watch.slow_threshold that were not kept, as more came than could be written down.";
    WATCH_DURATION = MetricKind::Histogram(QUERY_SECONDS), "litekeeper_watch_duration_seconds" ["database", "query"]
        "How long the queries of the watch-list took.";
    WATCH_PLAN_CHANGES = MetricKind::Counter, "litekeeper_watch_plan_changes_total" ["database", "query"]
        "Times that the query plan of a watched query became another one.";

    DATABASE_SIZE = MetricKind::Gauge, "litekeeper_database_size_bytes" ["database"]
        "Size of the database file, without its write-ahead log.";
    DATABASE_FREE = MetricKind::Gauge, "litekeeper_database_free_bytes" ["database"]
        "Bytes in free pages of the database file, which VACUUM would give back.";
    DATABASE_GROWTH = MetricKind::Gauge, "litekeeper_database_growth_bytes_per_day" ["database"]
        "How much more the database holds each day, its free pages left out; absent before three days of samples.";
    DISK_FULL = MetricKind::Gauge, "litekeeper_disk_full_seconds" ["database"]
        "Time until the filesystem of the database is full at its own growth; absent while it does not grow.";
    WAL_SIZE = MetricKind::Gauge, "litekeeper_wal_size_bytes" ["database"]
        "Size of the write-ahead log; 0 when there is none.";
    WAL_PINNED = MetricKind::Gauge, "litekeeper_wal_pinned_seconds" ["database"]
        "For how long one reader has kept a write-ahead log past maintain.max_wal from being emptied; 0 when none does.";
    TABLE_SIZE = MetricKind::Gauge, "litekeeper_table_size_bytes" ["database", "table"]
        "Size of a table with its indexes.";
    TABLE_ROWS = MetricKind::Gauge, "litekeeper_table_rows" ["database", "table"]
        "Rows of a table at the last count; absent where counting would be costly.";
    HEALTHY = MetricKind::Gauge, "litekeeper_healthy" ["database", "check"]
        "Whether a health check found all well (1) or not (0); absent when it cannot be told.";
    DATABASE_DAMAGED = MetricKind::Gauge, "litekeeper_database_damaged" ["database"]
        "Whether the file of the database is known to be damaged (1) or not (0).";
    INDEX_PROBLEMS = MetricKind::Gauge, "litekeeper_index_problems" ["database", "index", "reason"]
        "An index that is not as configured, is damaged, or that health advises to drop or create (1); absent when solved.";
    DISK_FREE = MetricKind::Gauge, "litekeeper_disk_free_bytes" ["database", "place"]
        "Free bytes on the filesystem of the database (data) and of its backups (backup).";

    BACKUP_SIZE = MetricKind::Gauge, "litekeeper_backup_size_bytes" ["database", "kind"]
        "Size of the newest backup: the database in it (raw) and the file as stored (stored).";
    BACKUPS = MetricKind::Gauge, "litekeeper_backups" ["database"]
        "Good backups that exist.";
    BACKUPS_DAMAGED = MetricKind::Gauge, "litekeeper_backups_damaged" ["database"]
        "Backups that are known to be damaged, but for copies of a damaged database.";
    BACKUP_NEWEST = MetricKind::Gauge, "litekeeper_backup_newest_timestamp_seconds" ["database"]
        "Unix time until which the newest backup is known to hold what the database holds; absent when there is none.";
    BACKUP_VERIFIED = MetricKind::Gauge, "litekeeper_backup_verified_timestamp_seconds" ["database"]
        "Unix time until which the newest restored and checked backup is known to hold what the database holds; absent when none was checked.";
    BACKUP_COPIES = MetricKind::Gauge, "litekeeper_backup_copies" ["database", "copy"]
        "Good backups in a copy; absent while it cannot be looked at.";
    BACKUP_COPY_NEWEST = MetricKind::Gauge, "litekeeper_backup_copy_newest_timestamp_seconds" ["database", "copy"]
        "Unix time until which the newest backup in a copy is known to hold what the database holds; absent when there is none.";
    BACKUP_COPY_FAILURES = MetricKind::Counter, "litekeeper_backup_copy_failures_total" ["database", "copy"]
        "Runs that could not bring a copy up to date.";
    CLEANUP_ROWS = MetricKind::Counter, "litekeeper_cleanup_rows_total" ["database", "table"]
        "Rows that cleanup removed.";
    RECLAIMED = MetricKind::Counter, "litekeeper_reclaimed_bytes_total" ["database"]
        "Bytes that maintenance gave back to the filesystem.";
}

/// The metric with this name.
pub fn find(name: &str) -> Option<&'static Metric> {
    ALL.iter().find(|m| m.name == name)
}

/// Needed by the `metrics` facade; our recorder does not look at it.
const METADATA: Metadata<'static> = Metadata::new("litekeeper", Level::INFO, None);

/// Handles are fetched for each emit and never kept: a kept one would outlive the removal of its
/// database.
impl Metric {
    fn key<const N: usize>(&self, values: [&str; N]) -> Key {
        debug_assert_eq!(N, self.labels.len(), "{} has the labels {:?}", self.name, self.labels);
        let labels: Vec<Label> =
            self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value.to_owned())).collect();
        Key::from_parts(self.name, labels)
    }

    /// The counter with these label values, in the order of [`Metric::labels`].
    pub(super) fn counter<const N: usize>(&self, values: [&str; N]) -> Counter {
        metrics::with_recorder(|r| r.register_counter(&self.key(values), &METADATA))
    }

    /// The gauge with these label values, in the order of [`Metric::labels`].
    pub(super) fn gauge<const N: usize>(&self, values: [&str; N]) -> Gauge {
        metrics::with_recorder(|r| r.register_gauge(&self.key(values), &METADATA))
    }

    /// The histogram with these label values, in the order of [`Metric::labels`].
    pub(super) fn histogram<const N: usize>(&self, values: [&str; N]) -> Histogram {
        metrics::with_recorder(|r| r.register_histogram(&self.key(values), &METADATA))
    }
}
