//! SHOW: what `litekeeper demo` needs with nothing installed: a directory with a sample database
//! and a configuration for it, and an application that writes. Knows the configuration's text and
//! never the daemon that reads it.
//!
//! A directory is a demo's if its `litekeeper.toml` begins with our line. Such a directory is used
//! again: the database and its backups stay as they are, the configuration is written anew (the
//! address may differ) and an edited one is kept as `litekeeper.toml.old`. Any other directory that
//! is not empty is refused.

mod configuration;
mod layout;
mod people;
mod player;
mod random;
mod sample;

pub use layout::Demo;
pub use player::{Played, Player};
pub use sample::SampleSummary;

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::error::{Error, Reason, Result};

/// The directory without `--dir`: one for each user below the system's temporary directory, the
/// same each time so that it is found again, gone when the system clears that directory. Makes it,
/// readable by nobody else, and fails where something of another user has its name.
pub fn default_dir() -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("litekeeper-demo-{user}"));
    claim(&dir, user)?;
    Ok(dir)
}

/// Others may write to the temporary directory: what is there already counts only if it is ours and
/// no link.
fn claim(dir: &Path, user: u32) -> Result<()> {
    let failed = |e| Error::io(format!("cannot create {}", dir.display()), &e);
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(dir).map_err(failed)?;
            if found.is_dir() && found.uid() == user {
                return Ok(());
            }
            let text = format!("{} is not a directory of yours; choose another with --dir", dir.display());
            Err(Error::new(Reason::Permission, text))
        }
        other => other.map_err(failed),
    }
}

/// Refuses an address that cannot be taken, before anything is written.
pub fn check_address(listen: SocketAddr) -> Result<()> {
    TcpListener::bind(listen).map(drop).map_err(|cause| {
        let mut error = Error::io(format!("cannot listen on {listen}"), &cause);
        error.message += "; name another address, such as --listen 127.0.0.1:9743";
        error
    })
}

/// Makes `dir` a demo's: the sample database with the three years up to `now`, and a configuration
/// whose daemon listens on `listen`.
pub fn prepare(dir: &Path, listen: SocketAddr, now: DateTime<Utc>) -> Result<Demo> {
    let dir = std::path::absolute(dir).map_err(|e| Error::io("cannot find the current directory", &e))?;
    let mut demo = Demo {
        database: dir.join("attendance.sqlite"),
        configuration: dir.join("litekeeper.toml"),
        backups: dir.join("backups"),
        state: dir.join("state"),
        written: None,
        dir,
    };
    let text = configuration::text(&demo, listen)?;
    make(&demo.dir)?;
    // First of all, so that a demo that was stopped half-way is known as one.
    write_configuration(&demo, &text)?;
    make(&demo.backups)?;
    make(&demo.state)?;
    if !demo.database.exists() {
        demo.written = Some(write_database(&demo.database, now)?);
    }
    Ok(demo)
}

fn make(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| Error::io(format!("cannot create {}", dir.display()), &e))
}

fn write_configuration(demo: &Demo, text: &str) -> Result<()> {
    let failed = |e| Error::io(format!("cannot write {}", demo.configuration.display()), &e);
    match fs::read_to_string(&demo.configuration) {
        Ok(earlier) if earlier == text => return Ok(()),
        Ok(earlier) if configuration::is_a_demos(&earlier) => {
            fs::rename(&demo.configuration, demo.configuration.with_extension("toml.old")).map_err(failed)?;
        }
        _ if is_empty(&demo.dir)? => {}
        _ => {
            let dir = demo.dir.display();
            let text =
                format!("{dir} is not empty and no earlier demo's; give --dir a new or an empty directory");
            return Err(Error::new(Reason::Refused, text));
        }
    }
    fs::write(&demo.configuration, text).map_err(failed)
}

fn is_empty(dir: &Path) -> Result<bool> {
    let mut entries =
        fs::read_dir(dir).map_err(|e| Error::io(format!("cannot read {}", dir.display()), &e))?;
    Ok(entries.next().is_none())
}

/// Under another name until it is whole: a database by its own name is never half a sample.
fn write_database(path: &Path, now: DateTime<Utc>) -> Result<SampleSummary> {
    let doing = || format!("cannot write the sample database {}", path.display());
    let part = path.with_extension("sqlite.part");
    match fs::remove_file(&part) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(doing(), &e)),
        _ => {}
    }
    let written = sample::write(&part, now).map_err(|e| e.context(doing()))?;
    fs::rename(&part, path).map_err(|e| Error::io(doing(), &e))?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_default_directory_is_its_users_alone_and_taken_again() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("demo");
        let user = rustix::process::geteuid().as_raw();
        claim(&dir, user).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        claim(&dir, user).unwrap();
    }

    #[test]
    fn a_default_directory_that_another_user_laid_out_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let dir = temporary.path().join("theirs");
        fs::create_dir(&dir).unwrap();
        assert_eq!(claim(&dir, user + 1).unwrap_err().reason, Reason::Permission);
        let link = temporary.path().join("link");
        symlink(&dir, &link).unwrap();
        assert_eq!(claim(&link, user).unwrap_err().reason, Reason::Permission);
        let file = temporary.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(claim(&file, user).unwrap_err().reason, Reason::Permission);
    }
}
