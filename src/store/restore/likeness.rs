//! Owner, group, mode, access list and labels of a file, for the one that takes its place: the
//! application must find what it may read and write, and nobody else more than before. By path and
//! without opening the file (HAZARDS H1).

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid, XattrFlags, fchmod, fchown, fsetxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// More than the names, or one value, of extended attributes can be (XATTR_LIST_MAX,
/// XATTR_SIZE_MAX).
const MOST_XATTRS: usize = 64 << 10;

/// The access list (posix_acl).
const ACCESS_LIST: &str = "system.posix_acl_access";
/// The label of SELinux.
const LABEL: &str = "security.selinux";
/// What users put there. Not carried over: file capabilities, `trusted.` and whatever else a kernel
/// keeps of its own.
const USERS: &str = "user.";

/// What a file looks like from outside.
#[derive(Debug)]
pub(super) struct Likeness {
    uid: u32,
    gid: u32,
    mode: u32,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Likeness {
    /// That of the file at `path`.
    pub(in crate::store) fn of(path: &Path, file: &Metadata) -> Result<Self> {
        let failed =
            |e: Errno| Error::io(format!("cannot read the access list of {}", path.display()), &e.into());
        let mut xattrs = Vec::new();
        for name in names(path).map_err(failed)? {
            let mut value = vec![0; MOST_XATTRS];
            let length = match lgetxattr(path, name.as_str(), &mut value[..]) {
                Err(Errno::NODATA) => continue,
                read => read.map_err(failed)?,
            };
            value.truncate(length);
            xattrs.push((name, value));
        }
        Ok(Self { uid: file.uid(), gid: file.gid(), mode: file.mode() & 0o7777, xattrs })
    }

    /// For a database that is gone: what its directory says of its user. Readable for its group
    /// only where that may write to the directory, and for nobody else: what the mode was is not
    /// known.
    pub(super) fn by_directory(directory: &Metadata) -> Self {
        let mode = 0o600 | (if directory.mode() & 0o020 == 0 { 0 } else { 0o060 });
        Self { uid: directory.uid(), gid: directory.gid(), mode, xattrs: Vec::new() }
    }

    /// In words.
    pub(super) fn show(&self) -> String {
        format!("user {}, group {}, mode {:04o}", self.uid, self.gid, self.mode)
    }

    /// Makes `file` look so. Gives what could not be carried over and matters to few; anything else
    /// is an error.
    pub(in crate::store) fn give(&self, file: &File, shown: &str) -> Result<Option<String>> {
        let failed = |what: &str, e: Errno| Error::io(format!("cannot set {what} of {shown}"), &e.into());
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchown(file, Some(uid), Some(gid))
            .map_err(|e| failed(&format!("the owner and group ({})", self.show()), e))?;
        fchmod(file, Mode::from_raw_mode(self.mode)).map_err(|e| failed("the mode", e))?;
        let mut left = Vec::new();
        for (name, value) in &self.xattrs {
            match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(e) if name == ACCESS_LIST => return Err(failed("the access list", e)),
                // A new file has the label that the policy gives to files of that directory.
                Err(_) => left.push(name.as_str()),
            }
        }
        Ok((!left.is_empty()).then(|| format!("not carried over from the old file: {}", left.join(", "))))
    }
}

/// The names of what is carried over.
fn names(path: &Path) -> rustix::io::Result<Vec<String>> {
    let mut list = vec![0; MOST_XATTRS];
    let length = match llistxattr(path, &mut list[..]) {
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        listed => listed?,
    };
    let names = list[..length].split(|&byte| byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let ours = |name: &&str| matches!(*name, ACCESS_LIST | LABEL) || name.starts_with(USERS);
    Ok(names.filter(ours).map(str::to_owned).collect())
}
