//! A backup restored over a live database's name (HAZARDS H17, H18, H22). Must never write to the
//! old database, but for what SQLite does to make it complete, nor remove a file that holds data.
//!
//! A process that has the old file open when another one takes its name goes on with the old one,
//! and in WAL mode with the `-wal` of the new one: commits are lost, or the new database is
//! corrupted
//! (<https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use>).
//! An old `-wal` or `-journal` that is found beside the new file brings old pages back. So, in this
//! order:
//!
//! 1. Look, and refuse what is in the way, before anything is written: whoever has the database or
//!    a file beside it open, processes that cannot be looked into, hard links, too little room.
//! 2. Unpack beside the database under a hidden name, check, give it owner, group, mode and access
//!    list of the old file, flush it.
//! 3. Take SQLite's exclusive lock on the old file. That rolls back what a crash left in its
//!    `-journal`; then what is in its `-wal` is moved into it. From here on the old file is
//!    complete by itself, and nobody can change it. Look again for those who have it open.
//! 4. Give the old file its second name, `NAME.before-restore-TIME`. Remove the empty `-wal` and
//!    the `-shm`, in which nothing is left; whatever else lies beside it gets that name as well.
//!    Flush the directory, so that after a power cut, too, no new database stands beside an old
//!    log.
//! 5. Rename the new file over the name, flush the directory.
//! 6. Who opened the old file between the look and the rename waits for our lock, and has read and
//!    written nothing. From the rename on nobody can open it by its name: it is enough to look once
//!    more, and to keep the lock until those few have closed it.
//!
//! Killed at any point, there is the old database under the name, complete, or the new one. What
//! may be left over, the hidden file or the second name of the old one, is found and used by the
//! next try.
//!
//! Where the old file is so damaged that SQLite does not take it for a database, there is nobody
//! who could use it either: the same steps without the lock, and all that lies beside it is kept
//! with it.

mod aside;
mod plan;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::unfinished::HiddenFile;
use super::{checked, open_directory};
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::holders::{self, FileSelection, Holder};
use crate::sqlite::files::replicator;
use crate::sqlite::open::exclusive::Exclusive;
use crate::store::{Backup, Catalogue};
use crate::terms::progress::Watch;

pub use plan::{Plan, plan};

/// Between two looks at who still has the old file open.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was done.
#[derive(Debug)]
pub struct Replacement {
    /// Bytes of the restored database.
    pub bytes: u64,
    /// The old database and what is kept with it.
    pub kept: Vec<PathBuf>,
    /// What should be known.
    pub warnings: Vec<String>,
}

/// What the caller has to say while a restore goes on.
pub struct Hooks<'a> {
    /// Judges the unpacked file.
    pub check: &'a dyn Fn(&Path) -> Result<()>,
    /// Is told, again and again, who still has the old file open, and asked whether to go on
    /// waiting.
    pub waiting: &'a dyn Fn(&[Holder]) -> Result<()>,
}

/// Does what `plan` says. `patience`: how long to wait for locks of others.
///
/// Errors: the refusals of the plan, under the reason of the first; `locked` where somebody uses
/// the database; `damaged` where the backup is. On any error before the rename the old database is
/// under its name, as it was; one after it says so.
pub fn restore(
    catalogue: &Catalogue,
    backup: &Backup,
    plan: &Plan,
    patience: Duration,
    watch: &dyn Watch,
    hooks: &Hooks<'_>,
) -> Result<Replacement> {
    plan.permits()?;
    let path = &plan.path;
    let (dir, name) = open_directory(path)?;
    let mut new = HiddenFile::create(&dir, &name)?;
    let bytes = checked(catalogue, backup, &new, watch, hooks.check)?;
    let likeness = plan::likeness(&dir, path, plan::metadata(path)?.as_ref())?;
    let mut warnings: Vec<String> =
        likeness.give(new.file(), &new.path().display().to_string())?.into_iter().collect();
    new.sync()?;
    watch.go_on()?;

    let mut locked = OldDatabase::take(plan, patience)?;
    warnings.append(&mut locked.warnings);
    plan::used(path, &plan.look().holders)?;
    let kept = aside::swap(&dir, &name, plan.old, locked.lock.is_some(), &mut new)?;
    if let (Some(lock), Some(old)) = (locked.lock, plan.old) {
        loop {
            let late = holders::of(FileSelection { there: &[old], removed: &[] }).holders;
            if late.is_empty() {
                break;
            }
            (hooks.waiting)(&late)?;
            std::thread::sleep(LOOK_EVERY);
        }
        lock.let_go();
    }
    Ok(Replacement { bytes, kept: kept.iter().map(|name| dir.path().join(name)).collect(), warnings })
}

/// The old database: locked and complete by itself, or nothing that SQLite could use.
struct OldDatabase {
    lock: Option<Exclusive>,
    warnings: Vec<String>,
}

impl OldDatabase {
    fn take(plan: &Plan, patience: Duration) -> Result<Self> {
        let path = &plan.path;
        let Some(identity) = plan.old else {
            return Ok(Self { lock: None, warnings: Vec::new() });
        };
        let is_the_same = || match plan::metadata(path)? {
            Some(file) if (file.dev(), file.ino()) == identity => Ok(file),
            _ => Err(Error::new(
                Reason::Refused,
                format!("another file was put in place of {} meanwhile; look again", path.display()),
            )),
        };
        // Opened, an empty file would cost what lies beside it.
        let taken = if is_the_same()?.len() == 0 {
            Err(Error::new(Reason::NotADatabase, format!("{} is empty", path.display())))
        } else {
            Exclusive::take(path, patience)
        };
        is_the_same()?;
        match taken {
            Ok(lock) => {
                lock.settle(path)?;
                let is_news = lock.is_replicated(path) && !replicator::has_directory(path);
                Ok(Self { lock: Some(lock), warnings: is_news.then(plan::replicated).into_iter().collect() })
            }
            Err(e) if matches!(e.reason, Reason::NotADatabase | Reason::Damaged) => {
                let text = format!(
                    "the old database is of no use ({e}); it and what lay beside it are kept as they were"
                );
                Ok(Self { lock: None, warnings: vec![text] })
            }
            Err(e) if e.reason == Reason::Io => Err(Error::new(
                e.reason,
                format!("{e}; to restore all the same, move it away first, with the files beside it"),
            )),
            Err(e) => Err(e),
        }
    }
}
