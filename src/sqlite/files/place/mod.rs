//! Where a path really leads: walked name by name beneath open directories, so that nothing can be
//! put in between, with the owner of each link on the way (HAZARDS H32). Whoever owns a directory
//! that a path goes through may lead us by a link to what is his own, and nowhere else. Must never
//! open a file for reading or writing: all that is opened is `O_PATH`, which waits for no FIFO and
//! whose closing ends no lock (H1).

mod walk;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::fs::{fstat, open, openat, openat2, statat};
use rustix::io::{Errno, Result as Tried};

pub(in crate::sqlite) use self::walk::is_link;
pub use self::walk::look;
use self::walk::{LOOK, Link, Walk};
use super::paths::SIDECARS;
use crate::commands::quoted;
use crate::error::{Error, Reason, Result};
use crate::rights;

/// The descriptors of this process, as names that open what they stand for, wherever that lies now.
const DESCRIPTORS: &str = "/proc/self/fd";

/// Bits of a directory's mode by which its group, or everybody, may put names into it.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Where a path leads to.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    above: PathBuf,
    name: OsString,
    /// The file, where there is one.
    file: Option<Stat>,
    links: Vec<Link>,
}

/// Refuses a database that a link of somebody else leads to, or that he gave a second name; and
/// what lies beside it under the names of its log and journal and is no file of its own. A path
/// that leads nowhere is not refused.
pub fn check(path: &Path) -> Result<()> {
    match Place::of(path) {
        Ok(place) => place.check_beside(),
        // Whoever opens it says why he cannot.
        Err(error) if error.reason == Reason::WrongOwner => Err(error),
        Err(_) => Ok(()),
    }
}

impl Place {
    /// Where `path` leads to. Its directory must exist; the file need not.
    ///
    /// Errors: `wrong_owner` where a link, or a second name of the file, was made by somebody whose
    /// the file is not.
    pub fn of(path: &Path) -> Result<Self> {
        let found = Walk::begin(path).and_then(|mut walk| walk.find_file().map(|found| (walk, found)));
        let (Walk { at: directory, above, links, .. }, (name, file)) = found
            .map_err(|e| Error::io(format!("there is no directory for {}", path.display()), &e.into()))?;
        let place = Self { directory, above, name, file, links };
        let directory = place.directory_stat()?;
        let owner = place.file.map_or(directory.st_uid, |file| file.st_uid);
        may_lead(&place.links, owner, &place.path())?;
        if let Some(file) = place.file
            && has_foreign_name(&directory, &file)
        {
            return Err(Error::new(
                Reason::WrongOwner,
                format!(
                    "{} belongs to user {} and has {} hard links, and lies in a directory of user {}, who could \
                     have linked it there from elsewhere: it is not opened. Remove the other names, or give the \
                     file to user {}",
                    place.path().display(),
                    file.st_uid,
                    file.st_nlink,
                    directory.st_uid,
                    directory.st_uid
                ),
            ));
        }
        Ok(place)
    }

    /// The path without links.
    pub fn path(&self) -> PathBuf {
        self.above.join(&self.name)
    }

    /// Opens the file, or the one whose name ends in `suffix` beside it, for reading. Must not be
    /// used on a database that a connection of ours has open (H1).
    pub fn read(&self, suffix: &str) -> Result<std::fs::File> {
        let mut name = self.name.clone();
        name.push(suffix);
        let shown = self.above.join(&name);
        let found = openat(&self.directory, &name, LOOK, Mode::empty()).and_then(|found| {
            let file = fstat(&found)?;
            let is_file = FileType::from_raw_mode(file.st_mode) == FileType::RegularFile;
            let is_own = !has_foreign_name(&fstat(&self.directory)?, &file);
            if is_file && is_own { reopened(&found, OFlags::RDONLY) } else { Err(Errno::INVAL) }
        });
        found
            .map(std::fs::File::from)
            .map_err(|e| Error::io(format!("cannot read {}", shown.display()), &e.into()))
    }

    /// The file, if it is a regular one, as a descriptor by which nothing can be read or written
    /// (`O_PATH`), and its size.
    pub(super) fn regular(&self) -> Option<(OwnedFd, u64)> {
        let found = look(&self.directory, &self.name).ok()?;
        let file = fstat(&found).ok()?;
        let is_file = FileType::from_raw_mode(file.st_mode) == FileType::RegularFile;
        is_file.then(|| (found, u64::try_from(file.st_size).unwrap_or(0)))
    }

    fn directory_stat(&self) -> Result<Stat> {
        fstat(&self.directory)
            .map_err(|e| Error::io(format!("cannot look at {}", self.above.display()), &e.into()))
    }

    /// Refuses what lies beside the file under the names of its log and journal and is not its own:
    /// SQLite would follow a link, wait for a FIFO, and write to whatever file has that name.
    fn check_beside(&self) -> Result<()> {
        let directory = self.directory_stat()?;
        for suffix in SIDECARS {
            let mut name = self.name.clone();
            name.push(suffix);
            let Ok(beside) = statat(&self.directory, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let shown = self.above.join(&name).display().to_string();
            let what = match FileType::from_raw_mode(beside.st_mode) {
                FileType::RegularFile => {
                    let owner = self.file.map_or(directory.st_uid, |file| file.st_uid);
                    own(&directory, owner, &beside).map_err(|why| foreign(&shown, &beside, why))?;
                    continue;
                }
                FileType::Symlink => "a link",
                FileType::Fifo => "a pipe",
                FileType::Directory => "a directory",
                FileType::Socket => "a socket",
                _ => "a device",
            };
            return Err(Error::new(
                Reason::Refused,
                format!(
                    "{shown} is {what} of user {}, where SQLite keeps a file of the database: it would be followed, or \
                     waited for without end. Remove it, and see who put it there",
                    rights::user(beside.st_uid)
                ),
            ));
        }
        Ok(())
    }
}

/// Why a file beside a database of `owner` is not taken for the database's.
fn own(directory: &Stat, owner: u32, beside: &Stat) -> std::result::Result<(), &'static str> {
    if beside.st_nlink > 1 && beside.st_uid != owner {
        return Err("has another name elsewhere");
    }
    // Anybody may make a file there; elsewhere, who may is trusted with the database, or owns the
    // directory.
    let is_for_all = directory.st_mode & (STICKY | 0o002) == (STICKY | 0o002);
    if is_for_all && ![owner, directory.st_uid, us(), 0].contains(&beside.st_uid) {
        return Err("lies in a directory where everybody may put files");
    }
    Ok(())
}

fn foreign(shown: &str, beside: &Stat, why: &str) -> Error {
    Error::new(
        Reason::WrongOwner,
        format!(
            "{shown} belongs to user {} and {why}, so that it is not taken for the database's own. Remove it, and see \
             who put it there",
            rights::user(beside.st_uid)
        ),
    )
}

/// A directory that a path leads to, links followed, and its path without them.
///
/// Errors: `wrong_owner` where a link was made by somebody whose the directory is not.
pub fn directory(path: &Path) -> Result<(OwnedFd, PathBuf)> {
    let failed = |e: Errno| Error::io(format!("cannot open the directory {}", path.display()), &e.into());
    let mut walk = Walk::begin(path).map_err(failed)?;
    walk.go(None).map_err(failed)?;
    let owner = fstat(&walk.at).map_err(failed)?.st_uid;
    may_lead(&walk.links, owner, &walk.above)?;
    Ok((walk.at, walk.above))
}

/// The directory of `path`, in which no link but one of root or of ourselves was followed, and the
/// name in it. For SQLite, which has resolved the path before: what is a link now was put there
/// since.
pub(super) fn beneath(path: &Path) -> Tried<(OwnedFd, &OsStr)> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    Ok((handle(above, true)?, name))
}

/// What is at `path`, of which no directory is a link but one of root or of ourselves; nor is it
/// itself, unless `follow`.
pub(in crate::sqlite) fn handle(path: &Path, follow: bool) -> Tried<OwnedFd> {
    if let Some((descriptor, rest)) = descriptor(path) {
        let opened = open(descriptor, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        return if rest.as_os_str().is_empty() { Ok(opened) } else { below(&opened, rest) };
    }
    match openat2(CWD, path, LOOK, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(found) if !follow || !is_link(&found)? => return Ok(found),
        // Older kernels, and what filters system calls, do not know it.
        Ok(_) | Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    let trusted = |link: &Link| is_trusted(link.owner);
    if follow {
        let mut walk = Walk::begin(path)?;
        walk.go(Some(&trusted))?;
        return Ok(walk.at);
    }
    let (above, name) = (path.parent().ok_or(Errno::INVAL)?, path.file_name().ok_or(Errno::INVAL)?);
    let mut walk = Walk::begin(above)?;
    walk.go(Some(&trusted))?;
    look(&walk.at, name)
}

/// The same for who asks whether it is a link: what stands for a descriptor is none to him.
pub(in crate::sqlite) fn itself(path: &Path) -> Tried<OwnedFd> {
    if Path::new(DESCRIPTORS).starts_with(path) {
        return open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    }
    handle(path, false)
}

/// Whether the path stands for a descriptor of ours.
pub(super) fn is_descriptor(path: &Path) -> bool {
    descriptor(path).is_some_and(|(_, rest)| rest.as_os_str().is_empty())
}

/// The name by which a descriptor of ours, or of the process that has us look at it, is opened, of
/// a path that begins with it, and the rest.
fn descriptor(path: &Path) -> Option<(PathBuf, &Path)> {
    let mut names = path.strip_prefix("/proc").ok()?.components();
    let process = names.next()?.as_os_str();
    let is_process = process == "self" || process.as_bytes().iter().all(u8::is_ascii_digit);
    if !is_process || names.next()?.as_os_str() != "fd" {
        return None;
    }
    let number = names.next()?;
    Some((Path::new("/proc").join(process).join("fd").join(number), names.as_path()))
}

/// The path by which SQLite opens `descriptor`, which must stay open as long as it is used:
/// whatever is done to names, it leads to that file, and of a directory to what is in it.
pub fn of_descriptor(descriptor: &impl std::os::fd::AsFd) -> PathBuf {
    Path::new(DESCRIPTORS).join(descriptor.as_fd().as_raw_fd().to_string())
}

fn below(directory: &OwnedFd, rest: &Path) -> Tried<OwnedFd> {
    let mut at = None;
    for component in rest.components() {
        let Component::Normal(name) = component else { return Err(Errno::INVAL) };
        at = Some(look(at.as_ref().unwrap_or(directory), name)?);
    }
    at.ok_or(Errno::INVAL)
}

/// Opens for real what is open as `O_PATH`: this very file, whatever has its name by now.
pub fn reopened(found: &OwnedFd, flags: OFlags) -> Tried<OwnedFd> {
    open(of_descriptor(found), flags | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a file in a directory may have got there by a second name that the directory's owner, or
/// who else may write to it, gave to somebody else's.
pub fn has_foreign_name(directory: &Stat, file: &Stat) -> bool {
    file.st_nlink > 1 && file.st_uid != directory.st_uid && is_others(directory)
}

/// Whether others than root and we may put names into a directory.
pub(super) fn is_others(directory: &Stat) -> bool {
    !is_trusted(directory.st_uid) || directory.st_mode & OTHERS_WRITE != 0
}

/// Root could do anything without us, and so could we.
pub(super) fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == us()
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn may_lead(links: &[Link], owner: u32, to: &Path) -> Result<()> {
    let Some(link) = links.iter().find(|link| !is_trusted(link.owner) && link.owner != owner) else {
        return Ok(());
    };
    let (shown, to) = (link.path.display(), to.display());
    let (maker, owner) = (rights::user(link.owner), rights::user(owner));
    Err(Error::new(
        Reason::WrongOwner,
        format!(
            "{shown} is a link that user {maker} made, and it leads to {to}, which belongs to user {owner}: it is not \
             followed, as user {maker} could have us read and change files of others by it. If it is meant, name {to} \
             itself, or give the link to that user: chown -h {owner} {}",
            quoted(&link.path)
        ),
    ))
}
