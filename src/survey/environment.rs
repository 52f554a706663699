//! Whether the machine is as the configuration takes it to be: paths, owners, room, the address.
//! Looks only, by `stat` and by asking; must never make a directory or open a database, and never
//! keeps the address that it tries.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::{Deserialize, Serialize};

use super::apart;
use crate::commands::{self, quoted};
use crate::config::{Config, Database, Place};
use crate::error::{Error, Reason, Result};
use crate::http::ask;
use crate::rights::{self, sandbox};
use crate::sqlite::files::header::SMALLEST_PAGE;
use crate::sqlite::files::paths::resolved;
use crate::sqlite::files::space::disk_free;
use crate::sqlite::files::versions::{self, FAULT};
use crate::sqlite::files::{access, read_only};
use crate::state::State;
use crate::store;
use crate::words;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// What: a key of the configuration.
    pub about: String,
    /// What came of it.
    pub result: LookResult,
    /// In words.
    pub text: String,
}

/// What came of a [`Look`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookResult {
    /// As it must be.
    Ok,
    /// Works, but its operator should know.
    Warning,
    /// Something will fail, or is open to those that it must be kept from.
    Problem,
}

impl LookResult {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Looks at all places that the configuration, read from `path`, names, with the rights of this
/// process.
pub fn look(config: &Config, path: &Path) -> Vec<Look> {
    let mut looks = vec![
        one("daemon.state_dir", state(&config.daemon.state_dir)),
        one("daemon.listen", address(config, path)),
    ];
    for database in config.databases.values() {
        let key = |key: &str| format!("database.{}.{key}", database.name);
        let reached = access::check(&database.path).and_then(|_| {
            access::may_write_sidecars(&database.path)?;
            read_only::refuse_closed(&database.path)?;
            Ok(format!(
                "{} may be opened: its owner, group and modes are in order; what is in it was not looked at, \
                 `{}` does",
                database.path.display(),
                commands::litekeeper(format_args!("health {} --deep", database.name))
            ))
        });
        let told = [Reason::SecondName, Reason::ReadOnly];
        let is_told = reached.as_ref().is_err_and(|error| told.contains(&error.reason));
        looks.push(one(key("path"), reached));
        let warning = |text| Look { about: key("path"), result: LookResult::Warning, text };
        let warnings = if is_told { Vec::new() } else { access::warnings(&database.path) };
        looks.extend(warnings.into_iter().map(warning));
        looks.extend(cut_off(&database.path).map(warning));
        if let Some(text) = no_room_for_vacuum(database) {
            looks.push(warning(text));
        }
        looks.push(one(key("backup.dir"), backups(database, &database.backup.dir)));
        if let Some(text) = apart::warning(database) {
            looks.push(Look { about: key("backup.dir"), result: LookResult::Warning, text });
        }
        for copy in &database.backup.copies {
            looks.push(one(key(&format!("backup.copy.{}", copy.name)), backups(database, &copy.dir)));
        }
    }
    looks
}

/// Which SQLite those have that use the databases, where it is one to know of, and that not all can
/// be seen: once. Best asked as root, who sees every process.
pub fn applications(config: &Config) -> Vec<Look> {
    let (mut looks, mut unseen) = (Vec::new(), None);
    for database in config.databases.values() {
        // It is told to go on, however long it takes.
        let Ok(users) = versions::of_users(&database.path, &|| Ok(())) else { continue };
        for user in &users.seen {
            let who = user.in_words(&user.process.to_string());
            let about = format!("database.{}.path", database.name);
            let (result, text) = match &user.sqlite {
                Some(_) if user.is_faulty() => (LookResult::Warning, format!("{who}; {FAULT}")),
                Some(_) => (LookResult::Ok, who),
                None => (LookResult::Warning, who),
            };
            looks.push(Look { about, result, text });
        }
        unseen = unseen.or(users.unseen);
    }
    if let Some(why) = unseen {
        let text = format!("which SQLite the applications use cannot be seen of all: {why}");
        looks.push(Look { about: String::from("database"), result: LookResult::Warning, text });
    }
    looks
}

fn one(about: impl Into<String>, result: Result<String>) -> Look {
    let (result, text) = match result {
        Ok(text) => (LookResult::Ok, text),
        Err(error) => (LookResult::Problem, error.message),
    };
    Look { about: about.into(), result, text }
}

fn state(directory: &Path) -> Result<String> {
    let shown = directory.display();
    if !directory.exists() {
        return may_be_made(directory);
    }
    may_write(directory, directory)?;
    is_ours(directory, "the run history and the locks")?;
    State::view(directory)?;
    Ok(format!("{shown} can be written"))
}

fn address(config: &Config, path: &Path) -> Result<String> {
    let Some(listen) = config.daemon.listen else { return Ok(String::from("off")) };
    match TcpListener::bind(listen) {
        Ok(_) => Ok(format!("{listen} is free")),
        Err(_) if ask::status(listen, path).is_some() => Ok(format!("{listen} is the running daemon's")),
        Err(e) => Err(Error::io(format!("cannot listen on {listen}"), &e)),
    }
}

fn backups(database: &Database, place: &Place) -> Result<String> {
    let Some(base) = place.directory() else {
        // Reading is all that can be tried without leaving something there.
        let known = store::open(place, &database.name)?.list()?.len();
        let known = words::plural(known as u64, "file", "files");
        return Ok(format!("{} can be read and has {known}", place.join(&database.name)));
    };
    if !base.exists() {
        return may_be_made(base);
    }
    let place = match store::open(place, &database.name) {
        Ok(_) => base.join(&database.name),
        Err(error) if error.reason == Reason::NotFound => base.to_owned(),
        Err(error) => return Err(error),
    };
    may_write(&place, &place)?;
    is_ours(&place, "the backups")?;
    let free = disk_free(&place)?;
    let size = std::fs::metadata(&database.path).map_or(0, |file| file.len());
    let shown = place.display();
    if free < 2 * size {
        return Err(Error::new(
            Reason::NoSpace,
            format!(
                "{shown} has {} free; a backup needs up to {} there while it is made",
                words::bytes(free),
                words::bytes(2 * size)
            ),
        ));
    }
    Ok(format!("{shown} can be written and has {} free", words::bytes(free)))
}

/// A size that no whole database has.
fn cut_off(path: &Path) -> Option<String> {
    let size = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
    let text = match size {
        0 => "is empty, 0 bytes: its application has not made its tables yet, or it was cut off".to_owned(),
        _ if size.is_multiple_of(SMALLEST_PAGE) => return None,
        _ => format!(
            "has {size} bytes, which is no whole number of pages: it is no database, or it was cut off"
        ),
    };
    Some(format!("{} {text}", path.display()))
}

/// VACUUM writes the whole database anew before it gives the old pages back.
fn no_room_for_vacuum(database: &Database) -> Option<String> {
    let size = std::fs::metadata(&database.path).ok()?.len();
    let file = resolved(&database.path);
    let directory = file.parent()?;
    let free = disk_free(directory).ok()?;
    (free < 2 * size).then(|| {
        format!(
            "{} has {} free; VACUUM may need {}, and is skipped without",
            directory.display(),
            words::bytes(free),
            words::bytes(2 * size)
        )
    })
}

/// A directory that is not there is made when it is first needed, if the one above it is there.
fn may_be_made(directory: &Path) -> Result<String> {
    let above = directory.parent().unwrap_or(Path::new("/"));
    if let Some(hidden) = sandbox::hidden(directory) {
        return Err(Error::new(Reason::Permission, hidden));
    }
    if !above.is_dir() {
        return Err(Error::new(
            Reason::NotFound,
            format!(
                "{} cannot be made: {} does not exist; make it, or mount it if it is a disk of its own",
                directory.display(),
                above.display()
            ),
        ));
    }
    may_write(above, directory)?;
    is_ours(above, "what will be made")?;
    Ok(format!("{} does not exist yet and will be made", directory.display()))
}

/// Whether we may write to a directory, for `wanted`, which is it or is to be made in it.
fn may_write(directory: &Path, wanted: &Path) -> Result<()> {
    if !directory.is_dir() {
        return Err(Error::new(Reason::Io, format!("{} is not a directory", directory.display())));
    }
    accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(|e| {
        let us = rights::us();
        let mut error = Error::io(format!("user {us} may not write to {}", directory.display()), &e.into());
        let remedy = match error.reason {
            Reason::ReadOnly => Some(sandbox::read_only(directory).unwrap_or_else(|| mounted(directory))),
            // What a sandbox hides looks closed.
            Reason::Permission => Some(sandbox::hidden(directory).unwrap_or_else(|| given(wanted, &us))),
            _ => None,
        };
        error.message.extend(remedy.map(|remedy| format!("; {remedy}")));
        error
    })
}

fn mounted(directory: &Path) -> String {
    let here = if sandbox::is_read_only_mount(directory) { " here, too" } else { "" };
    format!("mount that filesystem writable{here}")
}

/// What to do where `wanted`, or the directory above it in which it is to be made, is somebody else's.
fn given(wanted: &Path, us: &str) -> String {
    match std::fs::metadata(wanted) {
        Ok(found) => format!(
            "it belongs to user {} with mode {:04o}: name a directory that user {us} owns",
            rights::user(found.uid()),
            found.mode() & 0o7777
        ),
        Err(_) => format!("make it for litekeeper: install -d -o {us} -m 0750 {}", quoted(wanted)),
    }
}

/// Refuses a directory in which, or above which, every user of the machine may remove and replace
/// what is there: nothing else would fail by it.
fn is_ours(directory: &Path, what: &str) -> Result<()> {
    const EVERYBODY: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let is_open = |directory: &&Path| {
        std::fs::metadata(directory).is_ok_and(|found| found.mode() & (EVERYBODY | STICKY) == EVERYBODY)
    };
    let real = resolved(directory);
    let Some(open) = real.ancestors().find(is_open) else { return Ok(()) };
    let mode = std::fs::metadata(open).map_or(0, |found| found.mode() & 0o7777);
    Err(Error::new(
        Reason::Permission,
        format!(
            "{} has mode {mode:04o}: every user of this machine may remove or replace {what} there; run: chmod o-w {}",
            open.display(),
            quoted(open)
        ),
    ))
}
