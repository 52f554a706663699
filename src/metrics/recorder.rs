//! Keeps the series: one Prometheus recorder for each database and one for the daemon's own, so
//! that removing a database removes its series. Must never bring a removed database back: only
//! [`Metrics::add_database`] makes room for one, and what still runs for a removed one counts into
//! the void.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::exporter::{self, Format};
use super::names::{self, MetricKind};
use crate::error::{Error, Reason, Result};
use crate::terms::Outcome;

/// All series of the program. A clone is another handle to the same ones.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    daemon: PrometheusRecorder,
    databases: RwLock<BTreeMap<String, Arc<PrometheusRecorder>>>,
}

/// What a database will count, so that each counter exists at zero before anything happens.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Words of the job kinds.
    pub jobs: &'a [&'a str],
    /// Tables that cleanup rules name.
    pub tables: &'a [&'a str],
    /// Names of the watched queries.
    pub queries: &'a [&'a str],
    /// Names of the copies of its backups.
    pub copies: &'a [&'a str],
}

impl Metrics {
    /// An empty set of series with the daemon's own at zero. `version` is litekeeper's.
    pub fn new(version: &str, sqlite_version: &str) -> Self {
        let inner = Inner { daemon: prometheus(), databases: RwLock::default() };
        let all = Self { inner: Arc::new(inner) };
        metrics::with_local_recorder(&all, || {
            names::BUILD_INFO.gauge([version, sqlite_version]).set(1);
            for outcome in [Outcome::Success, Outcome::Failure] {
                names::CONFIG_RELOADS.counter([outcome.as_str()]).increment(0);
            }
        });
        all
    }

    /// Makes this the place where all of the process' events go. Possible once.
    pub fn install(&self) -> Result<()> {
        metrics::set_global_recorder(self.clone())
            .map_err(|_| Error::new(Reason::Panic, "cannot set up the metrics: they are set up already"))
    }

    /// Starts to count for a database, with every counter at zero. For a database that is there
    /// already (a reload that changed its rules) only what is new is added; nothing is reset.
    pub fn add_database(&self, database: &str, expected: Expected<'_>) {
        let mut databases = self.inner.databases.write().unwrap_or_else(PoisonError::into_inner);
        databases.entry(database.to_owned()).or_insert_with(|| Arc::new(prometheus()));
        drop(databases);
        metrics::with_local_recorder(self, || start_at_zero(database, expected));
    }

    /// Drops a database's series; the next page is without them.
    pub fn remove_database(&self, database: &str) {
        self.inner.databases.write().unwrap_or_else(PoisonError::into_inner).remove(database);
    }

    /// Files the samples that histograms have gathered. To be called every few seconds: without it
    /// they pile up in memory until the next scrape.
    pub fn upkeep(&self) {
        self.each().iter().for_each(|r| r.handle().run_upkeep());
        self.inner.daemon.handle().run_upkeep();
    }

    /// The page that a scrape gets.
    pub fn render(&self, format: Format) -> String {
        let mut pages = vec![self.inner.daemon.handle().render()];
        pages.extend(self.each().iter().map(|r| r.handle().render()));
        exporter::merge(&pages, format)
    }

    fn each(&self) -> Vec<Arc<PrometheusRecorder>> {
        self.inner.databases.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Runs `register` on the recorder that this key belongs to; `None` for a database that is not
    /// (or no longer) kept.
    fn route<T>(&self, key: &Key, register: impl FnOnce(&PrometheusRecorder, &Key) -> T) -> Option<T> {
        let Some(database) = key.labels().find(|l| l.key() == names::DATABASE) else {
            return Some(register(&self.inner.daemon, &escaped(key)));
        };
        let databases = self.inner.databases.read().unwrap_or_else(PoisonError::into_inner);
        databases.get(database.value()).map(|r| register(r, &escaped(key)))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// HELP and TYPE come from the table of [`names`], so the descriptions of the facade have nothing
/// to add.
impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, about: &Metadata<'_>) -> Counter {
        self.route(key, |r, k| r.register_counter(k, about)).unwrap_or_else(Counter::noop)
    }

    fn register_gauge(&self, key: &Key, about: &Metadata<'_>) -> Gauge {
        self.route(key, |r, k| r.register_gauge(k, about)).unwrap_or_else(Gauge::noop)
    }

    fn register_histogram(&self, key: &Key, about: &Metadata<'_>) -> Histogram {
        self.route(key, |r, k| r.register_histogram(k, about)).unwrap_or_else(Histogram::noop)
    }
}

/// Everything that a database counts, at zero.
fn start_at_zero(database: &str, expected: Expected<'_>) {
    let _ = names::POOL_WAIT.histogram([database]);
    let _ = (names::POOL_TIMEOUTS.counter([database]), names::POOL_RECYCLED.counter([database]));
    let _ = (names::BUSY_RETRIES.counter([database]), names::RECLAIMED.counter([database]));
    let _ = names::SLOW_QUERIES_DROPPED.counter([database]);
    for job in expected.jobs {
        for outcome in Outcome::ALL {
            let _ = names::JOB_RUNS.counter([database, job, outcome.as_str()]);
        }
        let _ = names::JOB_RUNNING.gauge([database, job]);
        let _ = names::JOB_DURATION.histogram([database, job]);
        let _ = names::QUERY_DURATION.histogram([database, job]);
        let _ = names::WRITE_HOLD.histogram([database, job]);
        let _ = names::SLOW_QUERIES.counter([database, job]);
    }
    for table in expected.tables {
        let _ = names::CLEANUP_ROWS.counter([database, table]);
    }
    for copy in expected.copies {
        let _ = names::BACKUP_COPY_FAILURES.counter([database, copy]);
    }
    for query in expected.queries {
        let _ = names::WATCH_DURATION.histogram([database, query]);
        let _ = names::WATCH_PLAN_CHANGES.counter([database, query]);
    }
}

/// A recorder of the exporter's, with the buckets of the table: a histogram without any would be a
/// summary.
#[expect(clippy::expect_used, reason = "the one possible error is an empty list of buckets")]
fn prometheus() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in names::ALL {
        if let MetricKind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets).expect("buckets");
        }
    }
    builder.build_recorder()
}

/// The same key with backslashes and quotes in its label values escaped for the page. The exporter
/// takes those that it meets for escapes made already, so that two tables could come out under one
/// name; what is escaped beforehand it leaves as it is, and line feeds it escapes itself.
fn escaped(key: &Key) -> Key {
    if !key.labels().any(|l| l.value().contains(['\\', '"'])) {
        return key.clone();
    }
    let escape =
        |l: &Label| Label::new(l.key().to_owned(), l.value().replace('\\', r"\\").replace('"', "\\\""));
    Key::from_parts(key.name().to_owned(), key.labels().map(escape).collect::<Vec<_>>())
}
