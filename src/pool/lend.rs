//! One use of a connection, on the thread of whoever asks: had from the pool, its files compared
//! with what is there, and given back when the work is over, however that ended.

use std::sync::Arc;
use std::time::Instant;

use deadpool_sqlite::{HookError, Object, PoolError, TimeoutType};
use rusqlite::Connection;
use rusqlite::ffi::{SQLITE_CANTOPEN, SQLITE_IOERR, SQLITE_IOERR_SHMSIZE, SQLITE_NOTADB, SQLITE_READONLY};
use tokio::sync::RwLockReadGuard;

use super::call::Call;
use super::files::Admission;
use super::session;
use super::statements::{Statements, tell};
use super::{Inner, Pool};
use crate::config::units::show_duration;
use crate::descriptors;
use crate::error::{Class, Error, Reason, Result};
use crate::metrics::events::{PoolTimedOut, PoolWaited};
use crate::sqlite::files::header;
use crate::sqlite::open::{self, strictness};

/// How often files may be replaced one after the other before a call gives up.
const ADMISSIONS: usize = 3;

/// What to do about an error of the operating system that has no better remedy.
const BAD_DISK: &str = "; the disk or its driver fails: see the kernel's log (dmesg), and copy the backups to another disk \
                        before anything else";

impl Pool {
    /// Runs `work` on a connection, on this thread, which must be one that may wait, with the
    /// runtime entered. The call's cancellation and its deadline each stop the SQL, promptly where
    /// [`Call::guard`] watches beside it.
    ///
    /// Errors: those of `work`; `pool_timeout`; `cancelled` and `deadline`; `replaced` where
    /// another file has come in place of the one that the run began with, by which it has decided
    /// what to do, or of what lies beside it; whatever stands in the way of opening.
    pub fn run<T>(&self, call: &Call, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        call.check()?;
        let done = self.get(call).and_then(|lent| lent.use_for(call, work));
        done.map_err(|error| self.inner.named(error))
    }

    /// A connection, with as many attempts as `pool.retries` says.
    fn get(&self, call: &Call) -> Result<Loan> {
        let settings = &self.inner.settings;
        let mut attempt = 1;
        loop {
            let error = match self.try_get(call, attempt) {
                Ok(lent) => return Ok(lent),
                Err(error) => error,
            };
            if error.class() != Class::Transient || attempt >= settings.retries {
                return Err(error);
            }
            attempt += 1;
            call.wait_for(tokio::time::sleep(settings.retry_delay)).ok_or_else(|| ended(call))?;
        }
    }

    fn try_get(&self, call: &Call, attempt: u32) -> Result<Loan> {
        let inner = &self.inner;
        inner.replace_old();
        // Until the connection is open, none is closed.
        let (gate, generation) = inner.admit(call)?;
        if call.generation.get().is_some_and(|own| *own != generation) {
            return Err(inner.files.replaced());
        }
        let asked = Instant::now();
        let got = call.wait_for(inner.pool.get()).ok_or_else(|| ended(call))?;
        drop(gate);
        let waited = asked.elapsed();
        match got {
            Ok(connection) => {
                // Not before: a run that had no connection has not begun with any file.
                call.generation.get_or_init(|| generation);
                PoolWaited { database: &inner.database, waited }.emit();
                Ok(Loan {
                    inner: Arc::clone(inner),
                    connection: Some(connection),
                    generation,
                    is_clean: false,
                })
            }
            Err(PoolError::Timeout(TimeoutType::Wait)) => {
                inner.timed_out();
                PoolTimedOut { database: &inner.database, waited, attempt }.emit();
                let text = format!(
                    "all {} connections were in use for {}; raise pool.size or pool.max_overflow, or let fewer \
                     jobs run at the same time",
                    inner.settings.size + inner.settings.max_overflow,
                    show_duration(inner.settings.timeout)
                );
                Err(Error::new(Reason::PoolTimeout, text))
            }
            Err(error) => Err(inner.not_opened(error)),
        }
    }
}

impl Inner {
    /// The generation to which a connection may be opened, for as long as the guard is there.
    /// Connections to other files are closed first.
    fn admit(&self, call: &Call) -> Result<(RwLockReadGuard<'_, ()>, u64)> {
        let files = &self.files;
        for _ in 0..ADMISSIONS {
            let admission = call.wait_for(files.admit(|| self.pool.status().size));
            match admission.ok_or_else(|| ended(call))?? {
                Admission::Granted(gate, generation) => return Ok((gate, generation)),
                Admission::Replaced => {
                    call.wait_for(files.renew(|| self.idle(|_| true))).ok_or_else(|| ended(call))??;
                }
            }
        }
        Err(files.replaced())
    }

    fn not_opened(&self, error: PoolError) -> Error {
        let path = self.path.display();
        match error {
            PoolError::Timeout(_) => Error::new(
                Reason::PoolTimeout,
                format!("{path} could not be opened within {}", show_duration(self.settings.timeout)),
            ),
            PoolError::Backend(e) | PoolError::PostCreateHook(HookError::Backend(e)) => {
                Error::from(e).context(format!("cannot open {path}"))
            }
            PoolError::Closed => {
                Error::new(Reason::Cancelled, "the database was removed from the configuration")
            }
            other => Error::new(Reason::Sqlite, format!("cannot open {path}: {other}")),
        }
    }

    /// SQLite's own texts for a file that is none of its databases, and for one that it cannot read
    /// or write, do not say which, nor why.
    fn named(&self, error: Error) -> Error {
        let path = &self.path;
        if error.file.is_some() {
            return error;
        }
        match error.primary() {
            Some(SQLITE_CANTOPEN | SQLITE_IOERR) if descriptors::ran_out() => Error::new(
                Reason::NoDescriptors,
                format!(
                    "{}; {} of {} file descriptors are in use: {}",
                    error.message,
                    descriptors::open().map_or_else(|| String::from("all"), |open| open.to_string()),
                    descriptors::limit(),
                    descriptors::REMEDY
                ),
            )
            .of(path),
            Some(SQLITE_NOTADB) => header::explain(path),
            Some(SQLITE_READONLY) => header::not_writable(path)
                .unwrap_or_else(|| error.context(format!("{} cannot be written", path.display())).of(path)),
            Some(SQLITE_IOERR) => {
                // The other one says what to do itself.
                let is_bare =
                    error.sqlite.as_ref().is_some_and(|failure| failure.code != SQLITE_IOERR_SHMSIZE);
                let mut error = error.context(path.display()).of(path);
                error.message += if is_bare { BAD_DISK } else { "" };
                error
            }
            _ => error,
        }
    }
}

fn ended(call: &Call) -> Error {
    let late = || Error::new(Reason::Deadline, "no connection was free before the time was up");
    match call.check() {
        Err(error) if error.reason == Reason::Cancelled => error,
        _ => late(),
    }
}

/// A connection, and which files it belongs to.
struct Loan {
    inner: Arc<Inner>,
    connection: Option<Object>,
    generation: u64,
    /// It can be lent again: nothing is open on it.
    is_clean: bool,
}

impl Loan {
    fn use_for<T>(mut self, call: &Call, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let Some(object) = &self.connection else { return Err(session::panicked()) };
        // A connection whose work panicked is never given back.
        let mut connection = object.lock().map_err(|_| session::panicked())?;
        let (files, path) = (&self.inner.files, &self.inner.path);
        if !files.are_in_place(self.generation) {
            return Err(files.replaced());
        }
        let limits = Arc::new(call.limits(self.inner.settings.busy_timeout));
        let observer = Statements::new(&self.inner.database, self.inner.slow_threshold, call.job);
        let slow = observer.slow();
        open::leave_log_to_replicator(&connection, path)?;
        strictness::relax(&connection)?;
        files.note(&connection, self.generation);
        let result = {
            let _use = call.uses.begin(call, &limits);
            session::run(&mut connection, &limits, Box::new(observer), work)
        };
        files.note(&connection, self.generation);
        tell(&connection, &slow, &self.inner.slow);
        let is_clean = connection.is_autocommit();
        drop(connection);
        self.is_clean = is_clean;
        result
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.is_clean {
            self.inner.give_back(connection, self.generation);
        } else {
            // Closed, so that a transaction of the work that panicked, or that could not be rolled
            // back, does not stay open with its locks.
            self.inner.files.close(vec![Object::take(connection)], self.generation);
        }
    }
}
