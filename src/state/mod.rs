//! MEMORY: the daemon's own `state.db` with the run history, slow statements and remembered facts;
//! the locks that keep two runs off one database; and the live status snapshot. Must never hold
//! anything that the kept databases need: losing it loses history, not data.

pub mod facts;
mod files;
pub mod handover;
pub mod locks;
pub mod pin;
mod process;
mod ranges;
pub mod runs;
pub mod slow;
pub mod status;
pub mod times;
pub mod trends;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

pub use self::ranges::ByteLock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::place;
use crate::sqlite::open::name_of_own;

/// Others who write are waited for so long, and where SQLite does not wait, this long before
/// another attempt.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// The tables, one text per version; a new version appends a text and never changes an old one.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The daemon's memory. Cheap to clone; shared with other litekeeper processes through SQLite's own
/// locks.
#[derive(Clone)]
pub struct State {
    connection: Arc<Mutex<Connection>>,
    directory: PathBuf,
    /// The file of [`ranges`], opened when a database is first asked for.
    open: Arc<OnceLock<ranges::Bytes>>,
}

impl State {
    /// Opens or creates `state.db` in `directory`, which is created where its parent exists.
    ///
    /// Errors name the file, and say what to do where it is from a newer version or another
    /// program.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("state.db");
        files::StateFiles::create(directory).map_err(|e| match e.reason {
            Reason::Permission => cannot_open(&path, e),
            _ => e,
        })?;
        let connection = open(&path).map_err(|e| cannot_open(&path, e))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            directory: directory.to_owned(),
            open: Arc::default(),
        })
    }

    /// The memory as it is, for those who only look at it: creates nothing. Empty where there is
    /// none yet.
    pub fn view(directory: &Path) -> Result<Self> {
        let path = directory.join("state.db");
        let opened = match path.symlink_metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => nothing_yet(),
            Err(e) => Err(Error::io("its directory cannot be read", &e)),
            Ok(_) => view(&path),
        };
        let connection = opened.map_err(|e| cannot_open(&path, e))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            directory: directory.to_owned(),
            open: Arc::default(),
        })
    }

    /// Runs `work` on the connection, on a blocking thread.
    pub async fn with<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let state = self.clone();
        tokio::task::spawn_blocking(move || state.now(work))
            .await
            .unwrap_or_else(|_| Err(Error::new(Reason::Panic, "reading or writing state.db panicked")))
    }

    /// Runs `work` on the connection, on this thread.
    pub fn now<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.is_autocommit() {
            // Work before this one panicked; what it left open would swallow all that is written
            // after it.
            connection.execute_batch("ROLLBACK")?;
        }
        let path = self.directory.join("state.db");
        work(&mut connection).map_err(|e| e.context(format!("cannot use {}", path.display())).of(&path))
    }

    /// Runs `work` on this thread in one transaction that has the write lock from its beginning,
    /// for what depends on what it reads. Rolled back where `work` fails.
    pub fn transaction<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.now(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Whether the history can be written now: takes the write lock and lets go of it.
    pub fn check_writable(connection: &Connection) -> Result<()> {
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
        Ok(())
    }

    /// Where `state.db` and the locks lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Made by root, it belongs to the owner of its directory, with what lies beside it.
fn open(path: &Path) -> Result<Connection> {
    place::check(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(name_of_own(path), flags)?;
    connection.busy_timeout(PATIENCE)?;
    into_wal_mode(&connection)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Of two processes that do this to a new file at once, SQLite refuses one without waiting, as each
/// would wait for the other.
fn into_wal_mode(connection: &Connection) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until =>
            {
                std::thread::sleep(AGAIN_AFTER);
            }
            done => return Ok(done?),
        }
    }
}

fn nothing_yet() -> Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn view(path: &Path) -> Result<Connection> {
    place::check(path)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(name_of_own(path), flags)?;
    connection.busy_timeout(PATIENCE)?;
    match version(&connection)? {
        // Of an older litekeeper: brought up to date as by any other command.
        older if older < MIGRATIONS.len() => open(path),
        _ => Ok(connection),
    }
}

/// SQLite says only that it cannot; a user who may not is told so, and who may.
fn cannot_open(path: &Path, error: Error) -> Error {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS) != Err(Errno::ACCESS);
    let all = Access::READ_OK | Access::WRITE_OK;
    if may(path, all) && may(directory, all | Access::EXEC_OK) {
        let mut error = error.context(format!("cannot open {}", path.display()));
        if matches!(error.reason, Reason::Damaged | Reason::NotADatabase) {
            error.message += "; move it away to go on with an empty run history, which no backup needs";
        }
        return error;
    }
    let us = rustix::process::geteuid().as_raw();
    Error::new(
        Reason::Permission,
        format!(
            "user {us} may not read and write {} and its directory; run this as the user that the daemon runs as, or \
             as root",
            path.display()
        ),
    )
}

/// The format, or an error where a newer litekeeper wrote it.
fn version(connection: &Connection) -> Result<usize> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version <= MIGRATIONS.len() {
        return Ok(version);
    }
    Err(Error::new(
        Reason::Config,
        format!(
            "it was written by a newer litekeeper (format {version}, this one knows {}); upgrade, or move the file \
             away to start with an empty history",
            MIGRATIONS.len()
        ),
    ))
}

fn migrate(connection: &mut Connection) -> Result<()> {
    // Nearly always: then nobody who writes is waited for.
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    // Another process may migrate at the same moment: the version is read under the write lock.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    for text in &MIGRATIONS[version..] {
        transaction.execute_batch(text)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}
