//! LIFE of the daemon: start, the one loop, reload, drain, stop. What is due comes from `schedule`,
//! what is done from `jobs`; this room only holds them together. The loop never waits for a disk or
//! for a database: a slow one must not keep it from its signals and its watchdog.

mod beginning;
mod drain;
mod events;
mod follower;
mod handover;
mod keeper;
mod logs;
mod reload;
mod runs;
mod service;
mod signals;
mod systemd;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::clock::{self, Moment};
use crate::config::{Config, Database};
use crate::error::{Error, Reason, Result};
use crate::http::{Door, Readiness, Window};
use crate::jobs::registry;
use crate::metrics::events::{BackupCopy, ConfigLoaded, StateKept};
use crate::metrics::{Expected, Metrics};
use crate::pool::{self, Pool, SlowSender};
use crate::queries::slow_log;
use crate::schedule::admission::{Admission, Width};
use crate::schedule::ticks;
use crate::schedule::timetable::Timetable;
use crate::schedule::upkeep::Upkeep;
use crate::sqlite::files::access;
use crate::sqlite::look::facts::data_version;
use crate::state::State;
use crate::state::runs as history;
use crate::state::status::{ConfigState, Reload, Status};
use crate::survey::needs;
use crate::survey::overview::{self, Live};
use crate::survey::remote::Remote;
use crate::survey::running::Running;
use crate::terms::JobKind;
use beginning::Beginning;
use events::{Candidate, EndOfRun, Repeat};
use follower::{Handover, News};
use keeper::{Keeper, Look};
use signals::{Signal, Signals};
use systemd::Systemd;

/// Ticks between two times that histograms are filed.
const UPKEEP_EVERY: u64 = 5;

/// Ticks between two snapshots while nothing happens: sizes and room on the disks are at most so
/// many seconds old.
const LOOK_EVERY: u64 = 5;

/// How long a snapshot waits for the looks at the files. A disk answers within milliseconds.
const TO_LOOK: Duration = Duration::from_secs(1);

/// How long the start waits for the disks.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The daemon.
pub struct Supervisor {
    path: PathBuf,
    config: Config,
    state: State,
    metrics: Metrics,
    keepers: BTreeMap<String, Keeper>,
    timetable: Timetable,
    admission: Admission,
    /// When a log that has grown too large is looked after again.
    upkeep: Upkeep,
    ended: mpsc::UnboundedSender<EndOfRun>,
    handed: mpsc::UnboundedSender<News>,
    looked: mpsc::UnboundedSender<Look>,
    prepared: mpsc::UnboundedSender<Candidate>,
    /// Whether a configuration is being read, and whether it is to be read once more after that.
    reloading: Option<Repeat>,
    /// Whether the thread that reads one has not come back.
    read_hangs: Arc<AtomicBool>,
    slow: SlowSender,
    started: Moment,
    loaded_at: Moment,
    last_reload: Option<(Moment, Reload)>,
    /// `PRAGMA data_version` of the run history when it was last looked at.
    state_version: Arc<AtomicI64>,
    /// Told when another process has written to the run history.
    changed: mpsc::Sender<()>,
    view: watch::Sender<Arc<Status>>,
    readiness: Readiness,
    /// What was last seen in the buckets.
    remote: Remote,
    /// The snapshot that is being taken.
    snapshot: Option<tokio::task::JoinHandle<()>>,
    /// Something happened since it was begun.
    stale: bool,
    /// The jobs whose last run failed for lack of descriptors.
    starving: BTreeSet<(String, JobKind)>,
    systemd: Systemd,
    turns: u64,
    /// What others see the daemon through.
    door: Door,
    /// Until systemd has been told that the service has started.
    beginning: Option<Beginning>,
}

/// Runs the daemon until it is told to stop. `started` is called once everything is up, with the
/// address of the HTTP server where it has one.
pub async fn run(
    path: PathBuf,
    config: Config,
    started: impl FnOnce(Option<std::net::SocketAddr>) + 'static,
) -> Result<()> {
    let mut signals = Signals::install()?;
    let directory = config.daemon.state_dir.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let state = State::open_or_go_without(&directory)?;
        let only_daemon = state.lock_daemon()?;
        let dead = state.now(|c| history::end_those_of_dead_processes(c))?;
        Ok::<_, Error>((state, only_daemon, dead))
    });
    let opened =
        opening.await.unwrap_or_else(|_| Err(Error::new(Reason::Panic, "opening state.db panicked")));
    let (state, only_daemon, dead) = opened?;
    if dead > 0 {
        tracing::warn!(runs = dead, "runs had not ended when their process did; they count as interrupted");
    }
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), rusqlite::version());
    metrics.install()?;

    let (ended, mut endings) = mpsc::unbounded_channel();
    let (handed, mut handovers) = mpsc::unbounded_channel();
    let (looked, mut looks) = mpsc::unbounded_channel();
    let (prepared, mut configurations) = mpsc::unbounded_channel();
    let (slow, slow_statements) = pool::slow_statements(pool::MOST_WAITING);
    let (changed, mut written_elsewhere) = mpsc::channel(1);
    tokio::spawn(slow_log::keep(state.clone(), slow_statements));

    let (view, seen) = watch::channel(Arc::new(overview::nothing_yet(&path)));
    let readiness = Readiness::default();
    let window = Window {
        status: seen,
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        hosts: config.daemon.hosts.clone(),
    };
    let door = Door::open(config.daemon.listen, window).await;
    let this = Running::this(&path, &config.daemon);
    let telling = tokio::spawn(beginning::tell_others(only_daemon, this, door.listening()));

    let mut supervisor = Supervisor {
        timetable: Timetable::new(config.daemon.timezone),
        admission: Admission::new(Width::of(&config.daemon)),
        path,
        state,
        metrics,
        keepers: BTreeMap::new(),
        upkeep: Upkeep::default(),
        ended,
        handed,
        looked,
        prepared,
        reloading: None,
        read_hangs: Arc::default(),
        slow,
        started: Moment::now(),
        loaded_at: Moment::now(),
        last_reload: None,
        state_version: Arc::default(),
        changed,
        view,
        readiness,
        remote: Remote::default(),
        snapshot: None,
        stale: false,
        starving: BTreeSet::new(),
        systemd: Systemd::new(),
        turns: 0,
        door,
        beginning: Some(Beginning::new(started)),
        config,
    };
    supervisor.begin(&mut looks).await?;
    let (ticks, mut beat) = ticks::start().await?;

    loop {
        supervisor.end_beginning();
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => supervisor.reload(),
                Signal::Stop => break,
            },
            Some(()) = beat.recv() => supervisor.turn(),
            Some(ended) = endings.recv() => supervisor.finished(&ended),
            Some(news) = handovers.recv() => supervisor.hand_over(news),
            Some(looked) = looks.recv() => supervisor.saw(looked),
            Some(prepared) = configurations.recv() => supervisor.take_over(prepared),
            Some(()) = written_elsewhere.recv() => supervisor.refresh(),
        }
    }
    supervisor.drain(&mut signals, &mut beat, &mut endings).await;
    supervisor.end(ticks).await;
    telling.abort();
    Ok(())
}

impl Supervisor {
    async fn begin(&mut self, looks: &mut mpsc::UnboundedReceiver<Look>) -> Result<()> {
        let now = clock::now();
        self.readiness.configured();
        ConfigLoaded { path: &self.path, databases: self.config.databases.len(), at: now }.emit();
        needs::warn(&self.config);
        let databases: Vec<_> = self.config.databases.values().cloned().collect();
        for database in databases {
            let pool = Pool::new(&database, self.slow.clone())?;
            self.keep(database, pool, now);
        }
        self.look_at_disks(looks).await;
        self.catch_up(now).await?;
        self.refresh();
        Ok(())
    }

    /// Takes a database into care, or takes over its new configuration.
    fn keep(&mut self, database: Arc<Database>, pool: Pool, now: chrono::DateTime<chrono::Utc>) {
        let name = database.name.clone();
        let (of, path) = (name.clone(), database.path.clone());
        tokio::task::spawn_blocking(move || {
            for warning in access::warnings(&path) {
                tracing::warn!(database = of, "{warning}");
            }
        });
        let jobs: Vec<_> =
            JobKind::SCHEDULED.iter().chain([&JobKind::Checkpoint]).map(|kind| kind.as_str()).collect();
        let tables: Vec<_> = database.cleanup.rules.iter().map(|rule| rule.table.as_str()).collect();
        let queries: Vec<_> = database.watch.queries.iter().map(|query| query.name.as_str()).collect();
        let copies: Vec<_> = database.backup.copies.iter().map(|copy| copy.name.as_str()).collect();
        let expected = Expected { jobs: &jobs, tables: &tables, queries: &queries, copies: &copies };
        self.metrics.add_database(&name, expected);
        let before = self.keepers.get(&name).map(|keeper| keeper.database.backup.copies.as_slice());
        for gone in before.unwrap_or_default().iter().filter(|copy| !copies.contains(&copy.name.as_str())) {
            BackupCopy { database: &name, copy: &gone.name, count: None, newest: None }.emit();
        }
        self.timetable.set_database(&database, &registry::kinds(&database), now);
        // One whose runs of before have not ended yet goes on with them.
        if let Some(keeper) = self.keepers.get_mut(&name) {
            (keeper.database, keeper.pool, keeper.is_leaving) = (database, pool, false);
            keeper.disk.look_anew();
        } else {
            let handover = Handover::follow(self.state.clone(), name.clone(), self.handed.clone());
            self.keepers.insert(name, Keeper::new(database, pool, handover));
        }
    }

    /// One beat: feed the watchdog, start what is due, look after the pools, show what is going on.
    fn turn(&mut self) {
        self.turns += 1;
        self.systemd.alive();
        self.readiness.ticked(Instant::now());
        let now = clock::now();
        self.stop_for_blackouts(now);
        self.stop_for_restores();
        self.make_way_for_silent_disks();
        self.start_what_is_due(now);
        self.look_after_logs();
        if self.turns.is_multiple_of(UPKEEP_EVERY) {
            self.metrics.upkeep();
        }
        for keeper in self.keepers.values() {
            keeper.pool.upkeep();
        }
        if self.stale || self.runs_at_work() > 0 || self.turns.is_multiple_of(LOOK_EVERY) {
            self.refresh();
        } else {
            self.refresh_if_another_process_ran_a_job();
        }
    }

    /// Has a new snapshot made of what is going on, once the looks at the files are back; one that
    /// does not come back leaves what was seen before in its place, of its own database alone.
    fn refresh(&mut self) {
        self.stale = true;
        for keeper in self.keepers.values_mut() {
            keeper.disk.look(&keeper.database, &self.remote, &self.looked);
        }
        self.take_snapshot();
    }

    /// A look has come back.
    fn saw(&mut self, looked: Look) {
        if let Some(keeper) = self.keepers.get_mut(&looked.at.name) {
            keeper.disk.saw(looked);
        }
        if self.stale {
            self.take_snapshot();
        }
    }

    fn take_snapshot(&mut self) {
        let is_awaited = self.keepers.values().any(|keeper| keeper.disk.is_awaited(TO_LOOK));
        if is_awaited || self.snapshot.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.stale = false;
        let (live, state) = (self.live(), self.state.clone());
        let config = Arc::new(self.config.clone());
        self.systemd.status(&self.in_a_line(&live));
        let (view, readiness) = (self.view.clone(), self.readiness.clone());
        self.snapshot = Some(tokio::spawn(async move {
            let trouble = state.beat().await.err().map(|error| error.message);
            StateKept { is_kept: trouble.is_none() }.emit();
            readiness.state_written(trouble);
            let taken = state.with(move |c| {
                let seen = |database: &Database| live.databases.get(&database.name)?.disk.clone();
                let status = overview::take(c, &config, Some(&live), seen)?;
                overview::publish(c, &status)?;
                Ok(status)
            });
            match taken.await {
                Ok(status) => drop(view.send_replace(Arc::new(status))),
                Err(error) => readiness.state_written(Some(error.message)),
            }
        }));
    }

    /// How many runs are at work.
    fn runs_at_work(&self) -> usize {
        self.keepers.values().map(|keeper| keeper.running().count()).sum()
    }

    /// A command shows on the page and in the metrics as soon as it has ended, like a run of the
    /// daemon's own.
    fn refresh_if_another_process_ran_a_job(&mut self) {
        let (state, version, changed) =
            (self.state.clone(), self.state_version.clone(), self.changed.clone());
        tokio::spawn(async move {
            if let Ok(now) = state.with(|c| data_version(c)).await
                && version.swap(now, Ordering::Relaxed) != now
            {
                // A full channel holds the message already.
                let _ = changed.try_send(());
            }
        });
    }

    fn live(&self) -> Live {
        let now = clock::now();
        Live {
            path: self.path.clone(),
            started: self.started.by(now),
            config: ConfigState {
                loaded_at: self.loaded_at.by(now),
                last_reload: self.last_reload.clone().map(|(at, last)| Reload { at: at.by(now), ..last }),
            },
            databases: self
                .keepers
                .iter()
                .filter(|(_, keeper)| !keeper.is_leaving)
                .map(|(name, keeper)| {
                    (name.clone(), keeper.live(now, |kind| self.timetable.next_run(name, kind)))
                })
                .collect(),
        }
    }

    /// So that the first runs know of each other. A disk that hangs must not hang the start.
    async fn look_at_disks(&mut self, looks: &mut mpsc::UnboundedReceiver<Look>) {
        for keeper in self.keepers.values_mut() {
            keeper.disk.look(&keeper.database, &self.remote, &self.looked);
        }
        let all = async {
            while self.keepers.values().any(|keeper| keeper.disk.is_awaited(FIRST_LOOK)) {
                let Some(looked) = looks.recv().await else { return };
                self.saw(looked);
            }
        };
        let _ = tokio::time::timeout(FIRST_LOOK, all).await;
    }
}
