//! Where the state is kept: in `state.db`, and in this process where that cannot be written, is
//! gone or is damaged, until it can be again. A job never fails for it. Must say so, once each
//! time, and never write to a file that nobody would find.

mod aside;
mod interim;
mod open;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::ffi;

use self::aside::NAME;
use self::open::StateFile;
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::access::{self, Identity};

/// Between two heartbeats, and between two tries to go back to the file.
const BEAT_EVERY: Duration = Duration::from_secs(4);

/// What is worked on.
pub(super) struct Memory {
    directory: PathBuf,
    /// Which directory that was when the file was opened.
    place: Option<Identity>,
    kept: Kept,
    /// Whether somebody only looks: then an error is what he sees.
    is_view: bool,
    beaten: Option<Instant>,
}

enum Kept {
    File(StateFile),
    /// For those who look: the file, or nothing where there is none.
    View(Connection),
    Interim(Box<Interim>),
}

struct Interim {
    connection: Connection,
    why: Error,
    /// What was worked on before.
    file: Option<StateFile>,
    tried: Instant,
}

impl Memory {
    /// In `state.db` of this directory.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        Ok(Self::of(directory, Kept::File(open::open(directory, false)?), false))
    }

    /// The same; in this process where the file is out of reach for want of a disk, which is said.
    pub(super) fn open_or_go_without(directory: &Path) -> Result<Self> {
        match Self::open(directory) {
            // Where not even the directory above is there, the path is a mistake.
            Err(why) if may_go_without(&why) && directory.parent().is_some_and(Path::is_dir) => {
                let known = interim::as_it_lies(directory);
                let connection = interim::begin(known.as_ref())?;
                tell(&why);
                let interim = Interim { connection, why, file: None, tried: Instant::now() };
                Ok(Self::of(directory, Kept::Interim(Box::new(interim)), false))
            }
            opened => opened,
        }
    }

    /// As it is, for those who only look.
    pub(super) fn view(directory: &Path) -> Result<Self> {
        let connection = open::view(directory).or_else(|why| match interim::as_it_lies(directory) {
            Some(known) if is_of_the_file(&why) && !aside::is_damage(&why) => {
                tracing::warn!("{why}; what is shown is from when it was last closed");
                Ok(known)
            }
            _ => Err(why),
        })?;
        Ok(Self::of(directory, Kept::View(connection), true))
    }

    fn of(directory: &Path, kept: Kept, is_view: bool) -> Self {
        let place = access::identity(directory);
        Self { directory: directory.to_owned(), place, kept, is_view, beaten: None }
    }

    /// Does `work`, and does it again in this process where the file fails it.
    pub(super) fn work<T>(&mut self, work: &mut dyn FnMut(&mut Connection) -> Result<T>) -> Result<T> {
        let path = self.directory.join(NAME);
        let told = |error: Error| error.context(format!("cannot use {}", path.display())).of(&path);
        match on(self.connection(), work).map_err(told) {
            Err(error) if !self.is_view && self.is_file() && is_of_the_file(&error) => {
                self.go_without(error)?;
                on(self.connection(), work)
            }
            done => done,
        }
    }

    /// Whether what is remembered is kept where it should be; else why not. Writes a heartbeat,
    /// compares the file with what lies there now, and goes back to it as soon as that can be.
    pub(super) fn beat(&mut self) -> Result<()> {
        if self.is_file() {
            if let Err(lost) = self.in_place() {
                self.go_without(lost)?;
            } else if self.beaten.is_none_or(|at| at.elapsed() >= BEAT_EVERY) {
                self.work(&mut |c| heartbeat(c))?;
                self.beaten = Some(Instant::now());
            }
        } else if let Kept::Interim(interim) = &mut self.kept
            && interim.tried.elapsed() >= BEAT_EVERY
        {
            interim.tried = Instant::now();
            if let Err(error) = self.go_back() {
                // What stands in the way now may be another thing than at first.
                if let Kept::Interim(interim) = &mut self.kept {
                    interim.why = error;
                }
            }
        }
        match &self.kept {
            Kept::Interim(interim) => Err(interim.why.clone()),
            Kept::File(_) | Kept::View(_) => Ok(()),
        }
    }

    fn connection(&mut self) -> &mut Connection {
        match &mut self.kept {
            Kept::File(file) => &mut file.connection,
            Kept::View(connection) => connection,
            Kept::Interim(interim) => &mut interim.connection,
        }
    }

    const fn is_file(&self) -> bool {
        matches!(self.kept, Kept::File(_))
    }

    /// An error where the path leads to another file than the one that is open, or to none.
    fn in_place(&self) -> Result<()> {
        let Kept::File(file) = &self.kept else { return Ok(()) };
        let path = self.directory.join(NAME);
        match path.symlink_metadata() {
            Ok(_) if access::identity(&path) == Some(file.identity) => Ok(()),
            Ok(_) => Err(Error::new(
                Reason::Io,
                format!(
                    "{} was replaced while it was in use; the file there now is taken over",
                    path.display()
                ),
            )),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("{} cannot be seen", path.display()), &e))
            }
            Err(_) => Err(self.lost()),
        }
    }

    /// Why the file is not there.
    fn lost(&self) -> Error {
        let shown = self.directory.display();
        let text = match access::identity(&self.directory) {
            None => format!(
                "the state directory {shown} is gone: put it back, or restart the daemon, which makes a new one"
            ),
            now if now == self.place => {
                format!("{shown}/{NAME} was deleted while it was in use; it is written anew")
            }
            _ => format!(
                "another directory without {NAME} is in the place of {shown}: mount its disk, or restart the daemon to \
                 begin with an empty run history"
            ),
        };
        Error::new(Reason::Io, text)
    }

    /// Goes on in this process.
    fn go_without(&mut self, why: Error) -> Result<()> {
        let Kept::File(file) = &self.kept else { return Ok(()) };
        let connection = interim::begin(Some(&file.connection))?;
        tell(&why);
        let (tried, empty) = (Instant::now(), Connection::open_in_memory()?);
        let before = std::mem::replace(&mut self.kept, Kept::View(empty));
        let file = if let Kept::File(file) = before { Some(file) } else { None };
        self.kept = Kept::Interim(Box::new(Interim { connection, why, file, tried }));
        Ok(())
    }

    /// Goes back to the file, and writes there what was remembered meanwhile.
    fn go_back(&mut self) -> Result<()> {
        let path = self.directory.join(NAME);
        let Kept::Interim(interim) = &mut self.kept else { return Ok(()) };
        let was_damaged = aside::is_damage(&interim.why);
        let there = access::identity(&path);
        let mut file = match interim.file.take() {
            Some(file) if there == Some(file.identity) && !was_damaged => file,
            Some(file) if there.is_none() => {
                let is_same_directory = access::identity(&self.directory) == self.place;
                let made = if is_same_directory && self.place.is_some() {
                    interim::written_anew(&file, &self.directory)
                        .and_then(|()| open::open(&self.directory, false))
                } else {
                    Err(self.lost())
                };
                let Kept::Interim(interim) = &mut self.kept else { return Ok(()) };
                match made {
                    Ok(new) => new,
                    Err(error) => {
                        interim.file = Some(file);
                        return Err(error);
                    }
                }
            }
            // Closed before another is opened at its path.
            before => {
                drop(before);
                open::open(&self.directory, was_damaged)?
            }
        };
        let Kept::Interim(interim) = &mut self.kept else { return Ok(()) };
        let brought = file
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(Error::from)
            .and_then(|transaction| {
                interim::end(&interim.connection, &transaction)?;
                heartbeat(&transaction)?;
                Ok(transaction.commit()?)
            });
        if let Err(error) = brought {
            interim.file = Some(file);
            return Err(error.context(format!("cannot use {}", path.display())));
        }
        self.place = access::identity(&self.directory);
        (self.kept, self.beaten) = (Kept::File(file), Some(Instant::now()));
        tracing::info!(
            "{} can be written again; what was remembered meanwhile has been written to it",
            path.display()
        );
        Ok(())
    }
}

fn tell(why: &Error) {
    tracing::error!(
        "the run history cannot be kept: {why}; runs go on without it, and what they leave is lost at the end of this \
         process unless it can be written before"
    );
}

fn on<T>(connection: &mut Connection, work: &mut dyn FnMut(&mut Connection) -> Result<T>) -> Result<T> {
    if !connection.is_autocommit() {
        // Work before this one panicked; what it left open would swallow all that is written after
        // it.
        connection.execute_batch("ROLLBACK")?;
    }
    work(connection)
}

fn heartbeat(connection: &Connection) -> Result<()> {
    connection.execute(
        "INSERT INTO heartbeat VALUES (1, ?1) ON CONFLICT DO UPDATE SET at = excluded.at",
        [clock::now().timestamp_millis()],
    )?;
    Ok(())
}

/// Whether the file, or what it lies on, is what failed.
fn is_of_the_file(error: &Error) -> bool {
    let of_the_file = [
        ffi::SQLITE_FULL,
        ffi::SQLITE_IOERR,
        ffi::SQLITE_READONLY,
        ffi::SQLITE_CANTOPEN,
        ffi::SQLITE_CORRUPT,
        ffi::SQLITE_NOTADB,
    ];
    error.primary().is_some_and(|code| of_the_file.contains(&code))
}

/// Not where the file is another user's or is kept from us: whoever has it may be at work.
fn may_go_without(error: &Error) -> bool {
    match error.reason {
        Reason::Permission => error.primary() == Some(ffi::SQLITE_READONLY),
        Reason::WrongOwner | Reason::Refused | Reason::Locked | Reason::Busy | Reason::Panic => false,
        Reason::NoSpace
        | Reason::ReadOnly
        | Reason::Io
        | Reason::NotFound
        | Reason::Damaged
        | Reason::NotADatabase => true,
        _ => is_of_the_file(error),
    }
}
