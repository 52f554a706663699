//! Which files the open connections belong to, and how a connection is closed.
//!
//! SQLite's last close moves the log into the file and removes `-wal` and `-shm` by their names
//! (<https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files>). Between two jobs that
//! is right, so that the one file of a stopped application is all of its database (HAZARDS H30). It
//! is wrong where another file has come under one of the names meanwhile, where a replicator owns
//! the log (H13), where the file has a second name (H31), and where it is damaged: the log may hold
//! what is left of it. So no connection does it by itself, and each close looks first. Must never
//! close one on a thread of the runtime, nor let two close at once: neither would be the last.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::{RwLock, RwLockReadGuard, watch};

use super::session;
use crate::commands;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::fileset::Fileset;
use crate::sqlite::files::{access, aliases, replicator};
use crate::sqlite::look::facts::is_wal;
use crate::sqlite::open;

/// A connection that was taken out of the pool.
pub(super) type Wrapper = <deadpool_sqlite::Object as Deref>::Target;

/// Of one database.
pub(super) struct FileWatch {
    database: String,
    path: PathBuf,
    known: Mutex<OpenFiles>,
    is_damaged: AtomicBool,
    /// Shared by those that open connections, had alone by one that closes some.
    gate: RwLock<()>,
    /// Closes that have not ended.
    closing: watch::Sender<usize>,
}

#[derive(Default)]
struct OpenFiles {
    /// Grows whenever other files are found than before: connections of earlier ones are of no use.
    generation: u64,
    /// What the connections of this generation have open.
    open: Option<Fileset>,
    /// Connections of an earlier generation to the same database are lent. SQLite shares what it
    /// knows of a `-shm` among all connections of a process to one file, so that there must be no
    /// new one beside them.
    is_held: bool,
    /// Another file may take its place without that being told of.
    is_let_go: bool,
}

/// What was found before a use.
pub(super) enum Admission<'a> {
    /// Connections of this generation may be opened while the guard is there.
    Granted(RwLockReadGuard<'a, ()>, u64),
    /// Other files than the open connections have, it seems: see [`FileWatch::renew`].
    Replaced,
}

impl FileWatch {
    pub(super) fn new(database: &str, path: PathBuf) -> Self {
        Self {
            database: database.to_owned(),
            path,
            known: Mutex::default(),
            is_damaged: AtomicBool::new(false),
            gate: RwLock::new(()),
            closing: watch::Sender::new(0),
        }
    }

    fn known(&self) -> MutexGuard<'_, OpenFiles> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn generation(&self) -> u64 {
        self.known().generation
    }

    pub(super) fn let_go(&self) {
        self.known().is_let_go = true;
    }

    pub(super) fn set_damaged(&self, is_damaged: bool) {
        self.is_damaged.store(is_damaged, Ordering::Relaxed);
    }

    /// Compares what is there with what is open. `count` tells how many connections the pool has.
    ///
    /// Errors: whatever stands in the way of opening the database; `replaced` where an earlier
    /// generation is in the way.
    pub(super) async fn admit(self: &Arc<Self>, count: impl Fn() -> usize) -> Result<Admission<'_>> {
        let is_held = self.known().is_held;
        if is_held {
            // Those that were given back are perhaps being closed.
            self.closed().await;
        }
        let gate = self.gate.read().await;
        let now = self.look().await?;
        let none_is_open = count() == 0 && *self.closing.borrow() == 0;
        let mut known = self.known();
        if none_is_open {
            known.is_held = false;
            known.open = known.open.take().map(Fileset::alone);
        }
        if known.open.get_or_insert_with(|| now.clone().alone()).is_in_place(&now) {
            if known.is_held {
                return Err(self.replaced());
            }
            known.is_let_go = false;
            return Ok(Admission::Granted(gate, known.generation));
        }
        Ok(Admission::Replaced)
    }

    /// What is there now, where it can be opened. A disk may hang, and must then hold up this call
    /// alone.
    async fn look(self: &Arc<Self>) -> Result<Fileset> {
        let this = Arc::clone(self);
        let look = tokio::task::spawn_blocking(move || {
            access::check(&this.path)?;
            Fileset::of(&this.path).ok_or_else(|| {
                let text = format!("the database {} vanished while it was opened", this.path.display());
                Error::new(Reason::Vanished, text)
            })
        });
        look.await.unwrap_or_else(|_| Err(session::panicked()))
    }

    /// Begins a new generation with the files that are there now, if the open connections have
    /// others. `idle` gives the idle connections, which are closed when this returns.
    ///
    /// Errors: as of [`Self::admit`].
    pub(super) async fn renew(self: &Arc<Self>, idle: impl FnOnce() -> Vec<Wrapper>) -> Result<()> {
        let alone = self.gate.write().await;
        // Looked at again: the application may have closed its last connection, and one of ours
        // have opened the next log, after the look that it seemed by. What was known to be open
        // before a look must be there in it.
        let open = self.known().open.clone();
        let now = self.look().await?;
        if open.is_some_and(|open| open.is_in_place(&now)) {
            return Ok(());
        }
        let before = {
            let mut known = self.known();
            let before = known.generation;
            let is_same = known.open.as_ref().is_some_and(|open| open.file == now.file);
            self.tell(&known, is_same);
            known.generation += 1;
            known.is_held = is_same;
            known.is_let_go = false;
            known.open = Some(now.alone());
            before
        };
        self.all_closed(idle(), before).await;
        drop(alone);
        // Those that were on their way already.
        self.closed().await;
        Ok(())
    }

    fn tell(&self, known: &OpenFiles, is_same: bool) {
        let (database, path) = (&self.database, self.path.display());
        if is_same {
            tracing::warn!(
                database,
                %path,
                reason = Reason::Replaced.as_str(),
                "the database was moved, or its -wal or -shm removed or replaced, while it was open; the connections are \
                 closed, and write nothing; whatever else still has the old ones open loses what it writes: restart it"
            );
        } else if !known.is_let_go {
            tracing::warn!(
                database,
                %path,
                reason = Reason::Replaced.as_str(),
                "another file was put in place of the database; the connections to the old one are closed; whatever \
                 still has it open loses what it writes: restart it"
            );
        }
    }

    /// What a run gets that began with other files.
    pub(super) fn replaced(&self) -> Error {
        Error::new(
            Reason::Replaced,
            format!(
                "another file was put in place of {}, or of the -wal or -shm beside it, during the run, which was stopped; \
                 restart whatever still has the old one open, because what it writes is lost, and see that nothing moves \
                 a database while it is in use ({} looks)",
                self.path.display(),
                commands::litekeeper(format_args!("restore {} --in-place", self.database))
            ),
        )
    }

    /// Whether a connection of this generation still has open what is there. Asked before each use,
    /// on its thread.
    pub(super) fn are_in_place(&self, generation: u64) -> bool {
        // In this order: another connection may open the log, and that be noted, after the look.
        let open = {
            let known = self.known();
            known.open.clone().filter(|_| known.generation == generation)
        };
        let now = Fileset::of(&self.path);
        open.zip(now).is_some_and(|(open, now)| open.is_in_place(&now))
    }

    /// Takes note of what a connection has open. One that could not read yet, because of a lock of
    /// the application, has nothing.
    pub(super) fn note(&self, connection: &Connection, generation: u64) {
        if !is_wal(connection).unwrap_or(false) {
            return;
        }
        let now = Fileset::of(&self.path);
        let mut known = self.known();
        if known.generation == generation
            && let (Some(open), Some(now)) = (&mut known.open, now)
        {
            open.log = open.log.or(now.log);
            open.index = open.index.or(now.index);
        }
    }

    /// Has connections of a generation closed, one after the other, on a thread that may wait for
    /// the disk.
    pub(super) fn close(self: &Arc<Self>, connections: Vec<Wrapper>, generation: u64) {
        // Without a runtime the process ends.
        let Ok(runtime) = Handle::try_current() else { return };
        if connections.is_empty() {
            return;
        }
        self.closing.send_modify(|closing| *closing += 1);
        let this = Arc::clone(self);
        runtime.spawn(async move {
            let _alone = this.gate.write().await;
            this.all_closed(connections, generation).await;
            this.closing.send_modify(|closing| *closing -= 1);
        });
    }

    async fn all_closed(self: &Arc<Self>, connections: Vec<Wrapper>, generation: u64) {
        let this = Arc::clone(self);
        let close = move || connections.into_iter().for_each(|taken| this.close_one(&taken, generation));
        // A panic there has left connections that close without touching anything.
        let _ = tokio::task::spawn_blocking(close).await;
    }

    /// Waits until all that were to be closed are.
    pub(super) async fn closed(&self) {
        // The sender is ours, and lives.
        let _ = self.closing.subscribe().wait_for(|closing| *closing == 0).await;
    }

    fn close_one(&self, taken: &Wrapper, generation: u64) {
        match taken.lock() {
            Ok(mut connection) => {
                self.prepare(&connection, generation);
                // Taken out, as what is dropped with the wrapper is closed on another thread, and
                // later.
                if let Ok(nothing) = Connection::open_in_memory() {
                    drop(std::mem::replace(&mut *connection, nothing));
                }
            }
            // Its work panicked.
            Err(poisoned) => {
                if let Some(connection) = poisoned.into_inner().take() {
                    self.prepare(&connection, generation);
                }
            }
        }
    }

    /// Lets the last close empty the log where that is right.
    fn prepare(&self, connection: &Connection, generation: u64) {
        let prepared = self.may_empty(connection, generation).and_then(|may| {
            if may {
                open::empty_log_on_close(connection)?;
            }
            Ok(())
        });
        if let Err(error) = prepared {
            // Of no harm: the next close looks again.
            tracing::debug!(database = self.database, "the log stays at the last close: {error}");
        }
    }

    fn may_empty(&self, connection: &Connection, generation: u64) -> Result<bool> {
        if self.is_damaged.load(Ordering::Relaxed) || !is_wal(connection)? {
            return Ok(false);
        }
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        Ok(!replicator::owns(connection, &self.path)
            && aliases::second(&self.path).is_none()
            // As late as it can be.
            && self.are_in_place(generation))
    }
}
