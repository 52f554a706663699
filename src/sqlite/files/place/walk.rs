//! A path walked name by name beneath open directories, each link on the way remembered with its
//! owner. Judges no link; opens nothing but as `O_PATH`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat};
use rustix::io::{Errno, Result as Tried};

/// To look at what has a name: itself, and no more than that.
pub(super) const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Links followed before a path is called a loop (as Linux does, MAXSYMLINKS).
const MOST_LINKS: usize = 40;

/// A link on the way.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) owner: u32,
}

/// What has the name in the directory, itself.
pub fn look(directory: &OwnedFd, name: &OsStr) -> Tried<OwnedFd> {
    openat(directory, name, LOOK, Mode::empty())
}

pub(in crate::sqlite) fn is_link(found: &OwnedFd) -> Tried<bool> {
    Ok(FileType::from_raw_mode(fstat(found)?.st_mode) == FileType::Symlink)
}

/// A path on the way.
pub(super) struct Walk {
    /// The directory that it has come to; at its end what it leads to.
    pub(super) at: OwnedFd,
    /// The path of that, without links.
    pub(super) above: PathBuf,
    ahead: VecDeque<OsString>,
    /// Those that were followed.
    pub(super) links: Vec<Link>,
}

impl Walk {
    pub(super) fn begin(path: &Path) -> Tried<Self> {
        let path = std::path::absolute(path).map_err(|_| Errno::INVAL)?;
        let at = open("/", LOOK | OFlags::DIRECTORY, Mode::empty())?;
        let mut this = Self { at, above: PathBuf::from("/"), ahead: VecDeque::new(), links: Vec::new() };
        this.push(&path)?;
        Ok(this)
    }

    /// To a file, or to where one could be made: its name in the directory, and what it is.
    pub(super) fn find_file(&mut self) -> Tried<(OsString, Option<Stat>)> {
        loop {
            let Some(name) = self.ahead.pop_front() else { return Err(Errno::ISDIR) };
            let is_last = self.ahead.is_empty();
            match openat(&self.at, &name, LOOK, Mode::empty()) {
                Err(Errno::NOENT) if is_last && name != ".." => return Ok((name, None)),
                Err(e) => return Err(e),
                Ok(found) if is_link(&found)? => self.follow(&found, &name)?,
                Ok(found) if is_last && name != ".." => return Ok((name, Some(fstat(&found)?))),
                Ok(found) => self.enter(found, &name),
            }
        }
    }

    /// To the end, which may be anything; only over links that `may` says yes to.
    pub(super) fn go(&mut self, may: Option<&dyn Fn(&Link) -> bool>) -> Tried<()> {
        while let Some(name) = self.ahead.pop_front() {
            let found = openat(&self.at, &name, LOOK, Mode::empty())?;
            if is_link(&found)? {
                self.follow(&found, &name)?;
                if let (Some(may), Some(link)) = (may, self.links.last())
                    && !may(link)
                {
                    return Err(Errno::LOOP);
                }
            } else {
                self.enter(found, &name);
            }
        }
        Ok(())
    }

    fn enter(&mut self, found: OwnedFd, name: &OsStr) {
        self.at = found;
        if name == ".." {
            self.above.pop();
        } else {
            self.above.push(name);
        }
    }

    fn follow(&mut self, link: &OwnedFd, name: &OsStr) -> Tried<()> {
        if self.links.len() >= MOST_LINKS {
            return Err(Errno::LOOP);
        }
        self.links.push(Link { path: self.above.join(name), owner: fstat(link)?.st_uid });
        let target = readlinkat(link, "", Vec::new())?;
        self.push(Path::new(OsStr::from_bytes(target.as_bytes())))
    }

    fn push(&mut self, path: &Path) -> Tried<()> {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.ahead.push_front(name.to_owned()),
                Component::ParentDir => self.ahead.push_front(OsString::from("..")),
                Component::CurDir | Component::Prefix(_) => {}
                Component::RootDir => {
                    self.at = open("/", LOOK | OFlags::DIRECTORY, Mode::empty())?;
                    self.above = PathBuf::from("/");
                }
            }
        }
        Ok(())
    }
}
