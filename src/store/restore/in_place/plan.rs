//! What a restore in place would do to a database, and what stands in its way, told by `stat` and
//! `/proc` alone. Must never open or change a file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, accessat, statx};

use super::aside;
use crate::error::{Error, Reason, Result};
use crate::rights;
use crate::sqlite::files::access::{self, Identity};
use crate::sqlite::files::holders::{self, FileSelection, Holder, Holders};
use crate::sqlite::files::paths::{SIDECARS, sidecar, wal_bytes};
use crate::sqlite::files::place::Place;
use crate::sqlite::files::replicator;
use crate::sqlite::files::space::disk_free;
use crate::sqlite::files::space::no_room;
use crate::store::local::directory::Directory;
use crate::store::restore::likeness::Likeness;
use crate::store::restore::open_directory;

/// What a restore in place would do, and what stands in its way.
#[derive(Debug)]
pub struct Plan {
    /// The database, links followed as SQLite does, of those who may lead us there.
    pub path: PathBuf,
    /// The name under which the old database is kept; `None` where there is none.
    pub kept: Option<PathBuf>,
    /// The files beside the database now.
    pub beside: Vec<PathBuf>,
    /// Bytes that it needs, and that are free.
    pub needed: u64,
    /// Bytes free in the directory.
    pub free: u64,
    /// Owner, group and mode that the restored database gets.
    pub likeness: String,
    /// Those who have the database open, as far as can be seen.
    pub seen: Holders,
    /// The process, perhaps one of them, that lets go of the database when it is asked to.
    pub yields: Option<u32>,
    /// Why it cannot be done now; empty where it can.
    pub refusals: Vec<Error>,
    /// What works, but should be known.
    pub warnings: Vec<String>,
    /// Which file the database is now.
    pub(in crate::store) old: Option<Identity>,
}

/// Looks at the database at `path` and what it would take to replace it by one of `bytes`. Changes
/// and opens nothing. `accept_unseen`: not being able to see all processes is no refusal. `yields`:
/// the process that will let go of the database when it is asked to.
pub fn plan(path: &Path, bytes: Option<u64>, accept_unseen: bool, yields: Option<u32>) -> Result<Plan> {
    let place = Place::of(path)?;
    let path = place.path();
    let (dir, name) = open_directory(&path)?;
    let old = metadata(&path)?;
    let identity = old.as_ref().map(|file| (file.dev(), file.ino()));
    let likeness = likeness(&dir, &path, old.as_ref())?;
    // The checkpoint of step 3 may make the old file grow by what is in its log.
    let (free, needed) = (disk_free(dir.path())?, bytes.unwrap_or(0) + wal_bytes(&path));
    let mut plan = Plan {
        kept: identity
            .map(|old| aside::kept_name(&dir, &name, old))
            .transpose()?
            .map(|kept| dir.path().join(kept)),
        beside: beside(&path),
        needed,
        free,
        likeness: likeness.show(),
        seen: Holders::default(),
        yields,
        refusals: Vec::new(),
        warnings: Vec::new(),
        old: identity,
        path,
    };
    plan.seen = plan.look();
    if let Some(name) = access::network(dir.path()) {
        plan.seen.unseen =
            Some(format!("{} lies on {name}, and other machines cannot be seen", dir.path().display()));
    }
    // A number from a lock may be that of another container, where an application has it here.
    // A check is made by a process of the daemon's own, which ends before the daemon lets go.
    let is_daemon = |holder: &&Holder| {
        let is_its_own = || yields.is_some() && holders::parent(holder.pid) == yields;
        holder.is_litekeeper && (Some(holder.pid) == yields || is_its_own())
    };
    let others: Vec<_> = plan.seen.holders.iter().filter(|holder| !is_daemon(holder)).cloned().collect();
    let judged = [
        old.as_ref().map_or(Ok(()), |file| replaceable(&dir, &name, &plan.path, file)),
        writable(&dir),
        used(&plan.path, &others),
        if accept_unseen { Ok(()) } else { all_seen(&plan.seen) },
        has_room(&dir, free, needed),
    ];
    plan.refusals.extend(judged.into_iter().filter_map(Result::err));
    if accept_unseen && let Some(unseen) = &plan.seen.unseen {
        plan.warnings.push(unseen.clone());
    }
    if old.is_none() {
        let likeness = &plan.likeness;
        plan.warnings
            .push(format!("the database is missing: whose it was is taken from its directory ({likeness})"));
    } else if replicator::has_directory(&plan.path) {
        plan.warnings.push(replicated());
    }
    Ok(plan)
}

impl Plan {
    /// The refusals as one error, under the reason of the first.
    pub fn permits(&self) -> Result<()> {
        let Some(first) = self.refusals.first() else { return Ok(()) };
        let all: Vec<_> = self.refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        Err(Error::new(first.reason, all.join("; and ")))
    }

    /// Who has the database or a file beside it open now, also one that was removed under them.
    pub(in crate::store) fn look(&self) -> Holders {
        let (names, there) = holders::set(&self.path);
        holders::of(FileSelection { there: &there, removed: &names })
    }
}

fn replaceable(dir: &Directory, name: &str, path: &Path, old: &Metadata) -> Result<()> {
    let refused = |text: String| Err(Error::new(Reason::Refused, text));
    let shown = path.display();
    let links =
        old.nlink().saturating_sub(aside::second_names(dir, name, (old.dev(), old.ino()))?.len() as u64);
    if links > 1 {
        return refused(format!(
            "{shown} has {links} hard links: the others would go on with the old database. Remove them, or restore \
             to a new file (--to)"
        ));
    }
    let place = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty());
    if place.is_ok_and(|place| place.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
        return refused(format!(
            "{shown} is a mount of a single file, which cannot be replaced; mount its directory instead, or restore \
             where it comes from"
        ));
    }
    let us = rustix::process::geteuid();
    if !us.is_root() && us.as_raw() != old.uid() {
        let (us, owner) = (rights::user(us.as_raw()), rights::user(old.uid()));
        return Err(Error::new(
            Reason::Permission,
            format!(
                "{shown} belongs to user {owner}, and user {us} cannot give the restored one to it; run it as root"
            ),
        ));
    }
    access::check(path).map(|_| ())
}

fn writable(dir: &Directory) -> Result<()> {
    accessat(CWD, dir.path(), Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|e| Error::io(format!("cannot write to {}", dir.path().display()), &e.into()))
}

/// Refuses a database that somebody has open, with what to do about each.
pub(in crate::store) fn used(path: &Path, holders: &[Holder]) -> Result<()> {
    if holders.is_empty() {
        return Ok(());
    }
    let who: Vec<_> = holders.iter().map(ToString::to_string).collect();
    let mut units: Vec<_> = holders.iter().filter_map(|holder| holder.unit.as_deref()).collect();
    units.sort_unstable();
    units.dedup();
    let remedy = match (units.is_empty(), holders.iter().any(|holder| holder.is_litekeeper)) {
        (false, _) => format!("systemctl stop {}; restore; and start what you stopped", units.join(" ")),
        (true, true) => String::from("stop it (litekeeper's own daemon, too), restore, and start it again"),
        (true, false) => String::from("stop it, restore, and start it again"),
    };
    Err(Error::new(
        Reason::Locked,
        format!(
            "{} is open in {}, and would go on with the old file: {remedy}",
            path.display(),
            who.join(", ")
        ),
    ))
}

fn all_seen(seen: &Holders) -> Result<()> {
    let Some(unseen) = &seen.unseen else { return Ok(()) };
    Err(Error::new(
        Reason::Refused,
        format!(
            "{unseen}: one that has the database open would lose what it writes. When you know that none has, add \
             --accept-unseen"
        ),
    ))
}

fn has_room(dir: &Directory, free: u64, needed: u64) -> Result<()> {
    if free >= needed {
        return Ok(());
    }
    Err(no_room("restoring in place", &dir.path().display().to_string(), needed, free))
}

pub(super) fn replicated() -> String {
    String::from("Litestream replicates this database: its replica must begin anew (a new generation)")
}

/// The files beside the database that are there.
fn beside(path: &Path) -> Vec<PathBuf> {
    let mut names = SIDECARS.map(|suffix| sidecar(path, suffix)).to_vec();
    names.retain(|name| name.symlink_metadata().is_ok());
    names
}

pub(in crate::store) fn likeness(dir: &Directory, path: &Path, old: Option<&Metadata>) -> Result<Likeness> {
    let Some(file) = old else {
        let failed = |e| Error::io(format!("cannot read the directory {}", dir.path().display()), &e);
        return Ok(Likeness::by_directory(&std::fs::metadata(dir.path()).map_err(failed)?));
    };
    Likeness::of(path, file)
}

pub(in crate::store) fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(file) if file.is_file() => Ok(Some(file)),
        Ok(_) => Err(Error::new(Reason::Refused, format!("{} is not a regular file", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("cannot look at {}", path.display()), &e)),
    }
}
