//! `state.db` opened: made where it is missing, brought up to date, moved aside where it is
//! damaged. Its user's alone: it has schema names and the shapes of statements. Must never change
//! what a newer litekeeper or another program wrote.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::aside::{self, NAME};
use crate::error::{Error, Reason, Result};
use crate::rights::{self, sandbox};
use crate::sqlite::files::access::{self, Identity};
use crate::sqlite::files::place;
use crate::sqlite::open::name_of_own;
use crate::state::files::StateFiles;

/// Others who write are waited for so long, and where SQLite does not wait, this long before
/// another attempt.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// What its log keeps on the disk once it was emptied.
const LOG_BYTES: i64 = 4 << 20;

/// The tables, one text per version; a new version appends a text and never changes an old one.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The file, open, and which one it is.
pub(super) struct StateFile {
    pub(super) connection: Connection,
    pub(super) identity: Identity,
}

impl Drop for StateFile {
    fn drop(&mut self) {
        // The last close removes the log by its name, which may be that of another file by now.
        let is_in_place = self.connection.path().is_some_and(|path| {
            access::identity(Path::new(path)).is_some_and(|identity| identity == self.identity)
        });
        if !is_in_place {
            let _ = self
                .connection
                .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

/// Opens it in `directory`, which is made where its parent exists. One that is damaged is moved
/// aside; where it `was_damaged` when it was used, all of it is looked at.
pub(super) fn open(directory: &Path, was_damaged: bool) -> Result<StateFile> {
    let path = directory.join(NAME);
    let files = StateFiles::create(directory).map_err(|e| match e.reason {
        Reason::Permission => cannot_open(&path, e),
        _ => e,
    })?;
    let judged = access::identity(&path);
    let opened =
        opened(&files, &path).and_then(|opened| if was_damaged { checked(opened) } else { Ok(opened) });
    let opened = match opened {
        Err(error) if aside::is_damage(&error) => {
            aside::move_aside(&files, &path, judged, &error)?;
            self::opened(&files, &path)
        }
        opened => opened,
    };
    opened.map_err(|e| cannot_open(&path, e))
}

/// Made by root, it belongs to the owner of its directory, with what lies beside it.
fn opened(files: &StateFiles, path: &Path) -> Result<StateFile> {
    place::check(path)?;
    files.keep_private(NAME)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(name_of_own(path), flags)?;
    connection.busy_timeout(PATIENCE)?;
    into_wal_mode(&connection)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    migrate(&mut connection)?;
    let identity =
        access::identity(path).ok_or_else(|| Error::new(Reason::Io, "it was removed while it was opened"))?;
    Ok(StateFile { connection, identity })
}

fn checked(file: StateFile) -> Result<StateFile> {
    let found: String = file.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(file) } else { Err(Error::new(Reason::Damaged, found)) }
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

/// A memory that ends with this process.
pub(super) fn in_memory() -> Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens what is there for reading.
pub(super) fn view(directory: &Path) -> Result<Connection> {
    let path = directory.join(NAME);
    let opened = match path.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => in_memory(),
        Err(e) => Err(Error::io("its directory cannot be read", &e)),
        Ok(_) => for_reading(directory, &path),
    };
    opened.map_err(|e| cannot_open(&path, e))
}

fn for_reading(directory: &Path, path: &Path) -> Result<Connection> {
    place::check(path)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(name_of_own(path), flags)?;
    connection.busy_timeout(PATIENCE)?;
    if version(&connection)? == MIGRATIONS.len() {
        return Ok(connection);
    }
    // Of an older litekeeper: brought up to date as by any other command.
    drop(connection);
    let mut brought = opened(&StateFiles::open(directory)?, path)?;
    Ok(std::mem::replace(&mut brought.connection, Connection::open_in_memory()?))
}

/// SQLite says only that it cannot; a user who may not is told so, and who may.
fn cannot_open(path: &Path, error: Error) -> Error {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if let Some(remedy) = sandbox::read_only(directory) {
        return Error::new(Reason::ReadOnly, format!("cannot write {}: {remedy}", path.display()));
    }
    let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS) != Err(Errno::ACCESS);
    let all = Access::READ_OK | Access::WRITE_OK;
    if may(path, all) && may(directory, all | Access::EXEC_OK) {
        let mut error = error.context(format!("cannot open {}", path.display()));
        if aside::is_damage(&error) {
            error.message +=
                "; any command that runs a job moves it aside, or move it away yourself: no backup needs it";
        }
        return error;
    }
    let us = rights::us();
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
