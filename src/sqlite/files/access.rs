//! Whether a database may be opened without harm to its application, judged by `stat` alone
//! (HAZARDS H1, H3, H23).
//!
//! SQLite creates the `-wal`, `-shm` and `-journal` files with the mode of the database, but gives
//! them the database's owner only when it runs as root and may chown (`findCreateFileMode` and
//! `robustFchown` in SQLite's os_unix.c). Opened by the wrong user, a database gets sidecars that
//! its application cannot write, and each of its requests fails from then on.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::paths::{SIDECARS, resolved, sidecar};
use super::sharing::{self, GROUP_RW};
use super::{aliases, header, read_only};
use crate::commands::{self, quoted};
use crate::error::{Error, Reason, Result};
use crate::rights::{self, sandbox};

/// Which file a path leads to: device and inode.
pub type Identity = (u64, u64);

/// Bit of CAP_CHOWN in the effective set of `/proc/self/status` (capability.h).
const CAP_CHOWN: u64 = 1;

/// Read and write for everybody.
const OTHER_RW: u32 = 0o006;

/// Refuses a database that is missing, is no regular file, is in WAL mode and reached under a
/// second name, or would be left with sidecars that its application cannot write. Done before every
/// use.
pub fn check(path: &Path) -> Result<Identity> {
    super::place::check(path)?;
    let path = &resolved(path);
    let file = std::fs::metadata(path).map_err(|e| unseen(path, &e))?;
    is_regular(path, &file).map_err(|error| {
        let several = "; where it holds several, write a table for each: [database.NAME] with its path";
        let text = format!(
            "{}; correct path, which must name the database itself{}",
            error.message,
            if file.is_dir() { several } else { "" }
        );
        Error::new(error.reason, text)
    })?;
    has_one_name(path)?;
    // Where nothing can be written, nothing is left that the application could not write.
    if let Some(readable) = read_only::check(path) {
        return readable.map(|()| (file.dev(), file.ino()));
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let parent = std::fs::metadata(directory)
        .map_err(|e| Error::io(format!("the directory {} cannot be read", directory.display()), &e))?;
    sidecars_stay_writable(path, &file, &parent)?;
    may(path, path, Access::READ_OK | Access::WRITE_OK, "read and write the database")?;
    let to_make = "create the -wal, -shm and -journal files in";
    may(path, directory, Access::WRITE_OK | Access::EXEC_OK, to_make)?;
    Ok((file.dev(), file.ino()))
}

/// Refuses what is no file.
pub fn is_regular(path: &Path, file: &Metadata) -> Result<()> {
    if file.is_file() {
        return Ok(());
    }
    let what = if file.is_dir() { "it is a directory" } else { "it is a device, pipe or socket" };
    let text = format!("{} is not a regular file: {what}", path.display());
    Err(Error::new(Reason::NotADatabase, text).of(path))
}

/// Refuses a database in WAL mode that is reached under a second name: what it reads lacks what is
/// in the application's log, and opened it would get a log of its own (HAZARDS H31).
fn has_one_name(path: &Path) -> Result<()> {
    match aliases::second(path) {
        // One that cannot be told counts as WAL mode.
        Some(second) if header::is_wal(path) != Some(false) => Err(Error::new(
            Reason::SecondName,
            format!("{second}; the database is in WAL mode, and is neither read nor written until then"),
        )),
        _ => Ok(()),
    }
}

/// Which file the path leads to now; `None` where it leads to none.
pub fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Says of each sidecar that exists now whether the database's owner can write it; the error names
/// the first that it cannot. Done after every run.
pub fn check_sidecars(path: &Path) -> Result<()> {
    // Without a database that can be seen there is nobody whose sidecars they could be.
    let Ok(file) = std::fs::metadata(path) else { return Ok(()) };
    for suffix in SIDECARS {
        let name = sidecar(path, suffix);
        let Ok(beside) = std::fs::metadata(&name) else { continue };
        if !owner_can_write(&file, &beside) {
            return Err(Error::new(
                Reason::WrongOwner,
                format!(
                    "{} belongs to {}, so the database's owner, user {owner}, cannot write it; fix it with: chown \
                     {owner}:{} {}",
                    name.display(),
                    whose(&beside),
                    rights::group(file.gid()),
                    quoted(&name),
                    owner = rights::user(file.uid()),
                ),
            ));
        }
    }
    Ok(())
}

/// Refuses to write where a file that is beside the database now cannot be written by us, though the
/// database can: what reads works there, and what writes ends with "readonly database".
pub fn may_write_sidecars(path: &Path) -> Result<()> {
    let path = &resolved(path);
    let (Ok(file), Ok(parent)) =
        (std::fs::metadata(path), std::fs::metadata(path.parent().unwrap_or(Path::new("/"))))
    else {
        return Ok(());
    };
    let is_closed = |name: &PathBuf| {
        let may = accessat(CWD, name, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS);
        may == Err(Errno::ACCESS)
    };
    let closed: Vec<PathBuf> =
        SIDECARS.map(|suffix| sidecar(path, suffix)).into_iter().filter(is_closed).collect();
    let Some(first) = closed.first().and_then(|name| name.metadata().ok()) else { return Ok(()) };
    let names: Vec<_> = closed.iter().map(|name| name.display().to_string()).collect();
    Err(Error::new(
        Reason::WrongOwner,
        format!(
            "{} may be written by user {} and what lies beside it may not ({} belongs to {}): nothing can be written \
             into the database; {}",
            path.display(),
            rights::us(),
            names.join(" and "),
            whose(&first),
            sharing::remedy(path, &file, &parent)
        ),
    )
    .of(path))
}

/// Things about the place of a database that work, but that its operator should know of.
pub fn warnings(path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(aliases::second(path).map(|second| second.to_string()));
    warnings.extend(read_only::why(path).map(|why| why.message));
    if let Some(group) = group_left_out(path) {
        warnings.push(format!(
            "{} may be written by group {group}, but the -wal and -shm files that litekeeper makes beside it are not that \
             group's; where the application writes as another user of that group, run: chgrp {group} {directory}; chmod \
             g+s {directory}",
            path.display(),
            group = rights::group(group),
            directory = quoted(resolved(path).parent().unwrap_or(Path::new("/")))
        ));
    }
    if let Some(name) = network(path) {
        warnings.push(format!(
            "{} lies on {name}, whose locks and shared memory SQLite cannot rely on",
            path.display()
        ));
    }
    warnings
}

/// The group that may write the database, where we own the database and new files get another
/// group. Whether anybody but its owner does use it, nobody can tell: no reason to refuse.
fn group_left_out(path: &Path) -> Option<u32> {
    let path = resolved(path);
    let (file, parent) = (std::fs::metadata(&path).ok()?, std::fs::metadata(path.parent()?).ok()?);
    let us = rustix::process::geteuid().as_raw();
    let is_shared = file.mode() & GROUP_RW == GROUP_RW && file.mode() & OTHER_RW != OTHER_RW;
    let chowns = us == 0 && may_chown();
    (us == file.uid() && is_shared && !chowns && group_of_new_files(&parent) != file.gid())
        .then(|| file.gid())
}

/// A new file takes the directory's group where that has the setgid bit, ours otherwise.
fn group_of_new_files(parent: &Metadata) -> u32 {
    if parent.mode() & 0o2000 != 0 { parent.gid() } else { rustix::process::getegid().as_raw() }
}

/// The network filesystem that a path lies on, if it does.
pub fn network(path: &Path) -> Option<&'static str> {
    network_filesystem(rustix::fs::statfs(path).ok()?.f_type)
}

/// Names of the network filesystems in statfs(2) and linux/magic.h.
fn network_filesystem(magic: rustix::fs::FsWord) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        _ => None,
    }
}

fn sidecars_stay_writable(path: &Path, file: &Metadata, parent: &Metadata) -> Result<()> {
    let us = rustix::process::geteuid().as_raw();
    if us == file.uid() || (file.mode() & OTHER_RW) == OTHER_RW {
        return Ok(());
    }
    if us == 0 {
        if may_chown() {
            return Ok(());
        }
        return Err(Error::new(
            Reason::WrongOwner,
            format!(
                "{} belongs to user {owner}, and litekeeper runs as root without CAP_CHOWN: it would leave -wal and \
                 -shm files that the application cannot write. Run it as that user (litekeeper@{owner}.service), or \
                 give it CAP_CHOWN",
                path.display(),
                owner = rights::user(file.uid())
            ),
        ));
    }
    if file.mode() & GROUP_RW == GROUP_RW && group_of_new_files(parent) == file.gid() {
        return Ok(());
    }
    Err(Error::new(
        Reason::WrongOwner,
        format!(
            "{} belongs to {}; opened by user {} it would get -wal and -shm files that the application cannot write. Run \
             litekeeper as that user (litekeeper@{}.service), or {}",
            path.display(),
            whose(file),
            rights::us(),
            rights::user(file.uid()),
            sharing::remedy(path, file, parent)
        ),
    ))
}

/// `user app and group web with mode 0640`.
fn whose(file: &Metadata) -> String {
    let (user, group) = (rights::user(file.uid()), rights::group(file.gid()));
    format!("user {user} and group {group} with mode {:04o}", file.mode() & 0o7777)
}

fn owner_can_write(database: &Metadata, sidecar: &Metadata) -> bool {
    let mode = sidecar.mode();
    database.uid() == 0
        || sidecar.uid() == database.uid()
        || (mode & OTHER_RW) == OTHER_RW
        || (mode & GROUP_RW == GROUP_RW && sidecar.gid() == database.gid())
}

/// Whether our effective capabilities hold CAP_CHOWN; no when that cannot be told.
fn may_chown() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .is_some_and(|set| set & CAP_CHOWN != 0)
    })
}

fn may(database: &Path, path: &Path, access: Access, what: &str) -> Result<()> {
    accessat(CWD, path, access, AtFlags::EACCESS).map_err(|e| {
        let mut error =
            Error::io(format!("user {} may not {what} {}", rights::us(), path.display()), &e.into());
        let remedy = match error.reason {
            Reason::ReadOnly => read_only::remedy(path),
            Reason::Permission => shared(database, path),
            _ => return error,
        };
        error.message += "; ";
        error.message += &remedy;
        error
    })
}

/// What to do where the rights to a database, or to its directory, do not suffice.
fn shared(database: &Path, closed: &Path) -> String {
    let found = |path: &Path| std::fs::metadata(path);
    let directory = database.parent().unwrap_or(Path::new("/"));
    let (Ok(file), Ok(parent), Ok(at)) = (found(database), found(directory), found(closed)) else {
        return String::from("litekeeper's user needs the right");
    };
    if at.uid() == rustix::process::geteuid().as_raw() {
        let bits = if at.is_dir() { "rwx" } else { "rw" };
        return format!("it is that user's own: chmod u+{bits} {}", quoted(closed));
    }
    let owner = rights::user(file.uid());
    format!(
        "run litekeeper as the database's owner (litekeeper@{owner}.service), or {}",
        sharing::remedy(database, &file, &parent)
    )
}

/// Why nothing can be seen where the database should be.
fn unseen(path: &Path, cause: &std::io::Error) -> Error {
    let shown = path.display();
    let target = std::fs::read_link(path).ok();
    let is_loop = cause.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    let hidden = path.parent().and_then(sandbox::hidden);
    let (reason, text) = match cause.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied if hidden.is_some() => {
            (Reason::Permission, format!("the database {shown}: {}", hidden.unwrap_or_default()))
        }
        ErrorKind::NotFound => {
            let what = match target {
                Some(target) => format!("is a link to {}, which does not exist", target.display()),
                None => String::from("does not exist"),
            };
            let restore = commands::litekeeper("restore DB --in-place");
            let bring_back =
                format!("correct path, mount the disk that it is on, or restore a backup ({restore})");
            (Reason::Vanished, format!("the database {shown} {what}; {bring_back}"))
        }
        _ if is_loop => (
            Reason::Vanished,
            format!("the database {shown} is a link that leads back to itself; let path name the file"),
        ),
        ErrorKind::PermissionDenied => (
            Reason::Permission,
            format!(
                "user {} may not look for the database {shown}; it needs the right to search each directory above \
                     it: {}",
                rights::us(),
                searchable(path)
            ),
        ),
        _ => return Error::io(format!("the database {shown} cannot be opened"), cause).of(path),
    };
    Error::new(reason, text).of(path)
}

/// How the nearest directory above `path` that keeps us out lets us through.
fn searchable(path: &Path) -> String {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    let closed = above
        .into_iter()
        .rev()
        .find(|directory| accessat(CWD, *directory, Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS));
    let Some(closed) = closed else { return String::from("one of them is closed to it") };
    let whose =
        std::fs::metadata(closed).map_or_else(|_| String::from("somebody else"), |found| whose(&found));
    format!(
        "{} belongs to {whose}; to let it through there and no more: setfacl -m u:{}:x {}",
        closed.display(),
        rights::us(),
        quoted(closed)
    )
}
