//! Whether the machine is as the configuration takes it to be: paths, owners, room, the address.
//! Looks only, by `stat` and by asking; must never make a directory or open a database, and never
//! keeps the address that it tries.

use std::net::TcpListener;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::Serialize;

use super::apart;
use crate::config::{Config, Database, Place};
use crate::error::{Error, Reason, Result};
use crate::http::ask;
use crate::sqlite::files::access;
use crate::sqlite::files::header::SMALLEST_PAGE;
use crate::sqlite::files::paths::resolved;
use crate::sqlite::files::space::disk_free;
use crate::sqlite::files::versions::{self, FAULT};
use crate::state::State;
use crate::store;
use crate::words;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// What: a key of the configuration.
    pub about: String,
    /// What came of it.
    pub result: LookResult,
    /// In words.
    pub text: String,
}

/// What came of a [`Look`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LookResult {
    /// As it must be.
    Ok,
    /// Works, but its operator should know.
    Warning,
    /// Something will fail.
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

/// Looks at everything that the configuration, read from `path`, names.
pub fn look(config: &Config, path: &Path) -> Vec<Look> {
    let mut looks = vec![
        one("daemon.state_dir", state(&config.daemon.state_dir)),
        one("daemon.listen", address(config, path)),
    ];
    for database in config.databases.values() {
        let key = |key: &str| format!("database.{}.{key}", database.name);
        let reached = access::check(&database.path).map(|_| {
            format!(
                "{} may be opened: its owner, group and modes are in order; what is in it was not looked at, \
                 `litekeeper health {} --deep` does",
                database.path.display(),
                database.name
            )
        });
        let is_told = reached.as_ref().is_err_and(|error| error.reason == Reason::SecondName);
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
    looks.extend(applications(config));
    looks
}

/// Which SQLite those have that use the databases, where it is one to know of, and that not all can
/// be seen: once.
#[expect(clippy::expect_used, reason = "the look is told to go on, however long it takes")]
fn applications(config: &Config) -> Vec<Look> {
    let (mut looks, mut unseen) = (Vec::new(), None);
    for database in config.databases.values() {
        let users = versions::of_users(&database.path, &|| Ok(())).expect("nothing stops it");
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
    may_write(directory)?;
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
    may_write(&place)?;
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
    may_write(above)?;
    Ok(format!("{} does not exist yet and will be made", directory.display()))
}

fn may_write(directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        return Err(Error::new(Reason::Io, format!("{} is not a directory", directory.display())));
    }
    accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(|e| {
        let us = rustix::process::geteuid().as_raw();
        Error::io(format!("user {us} may not write to {}", directory.display()), &e.into())
    })
}
