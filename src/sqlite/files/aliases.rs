//! Whether a database is reached under a second name (HAZARDS H31). SQLite finds the `-wal`, the
//! `-shm` and the `-journal` by the name under which it opened the file: under another one, a hard
//! link or a bind mount of the file alone, there are two logs and two sets of locks, and each side
//! destroys what the other wrote. Must never open the file (H1).

use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::paths::resolved;

/// What follows a database's name in that under which a restore in place keeps the file that it
/// replaces. While the restore is at work, or where it was killed, the live file has this second
/// name, under which nobody opens it.
pub const BEFORE_RESTORE: &str = ".before-restore-";

/// A second name, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondName {
    /// The file has so many names.
    HardLink {
        /// The one that is configured.
        path: PathBuf,
        /// All of them.
        links: u64,
    },
    /// The name is a mount of the file without its directory.
    Mount {
        /// The name.
        path: PathBuf,
    },
}

impl fmt::Display for SecondName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HardLink { path, links } => write!(
                f,
                "{path} has {links} hard links; opened under two names its -wal and -journal files differ, which corrupts \
                 it; remove the other links (find / -xdev -samefile {path} shows them)",
                path = path.display()
            ),
            Self::Mount { path } => write!(
                f,
                "{} is a mount of the single file: the -wal and -journal files that the application has beside it are not \
                 seen here, and the file is corrupted where both sides write; mount the directory that it lies in instead",
                path.display()
            ),
        }
    }
}

/// The second name of the database that `path` leads to, if it has one.
pub fn second(path: &Path) -> Option<SecondName> {
    let path = resolved(path);
    // A directory has a link for each one in it.
    let file = std::fs::metadata(&path).ok().filter(Metadata::is_file)?;
    let links =
        if file.nlink() > 1 { file.nlink().saturating_sub(kept_by_restores(&path, &file)) } else { 1 };
    if links > 1 {
        return Some(SecondName::HardLink { path, links });
    }
    is_mounted_alone(&path).then_some(SecondName::Mount { path })
}

/// Names of the file that restores in place gave it.
fn kept_by_restores(path: &Path, file: &Metadata) -> u64 {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return 0 };
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let prefix = [name.as_bytes(), BEFORE_RESTORE.as_bytes()].concat();
    let is_kept = |entry: &std::fs::DirEntry| {
        entry.file_name().as_bytes().starts_with(&prefix)
            && entry.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
    };
    entries.filter_map(Result::ok).filter(is_kept).count() as u64
}

/// Whether `path` is a mount point under another name than the file has in the directory's own
/// mount.
fn is_mounted_alone(path: &Path) -> bool {
    // Tells nearly always that it is none, without the list of all mounts (Linux 5.8).
    let seen = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty());
    let is_root = seen.ok().filter(|seen| seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT));
    let is_root = is_root.map(|seen| seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    if is_root == Some(false) {
        return false;
    }
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    judge(&mounts, path).unwrap_or(is_root == Some(true))
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    device: Vec<u8>,
    /// The path within the filesystem that is mounted …
    root: PathBuf,
    /// … and where.
    point: PathBuf,
}

/// `None` where `path` is no mount point.
fn judge(mounts: &[u8], path: &Path) -> Option<bool> {
    let mounts: Vec<Mount> = mounts.split(|byte| *byte == b'\n').filter_map(mount).collect();
    // Of several at one place the last one counts.
    let own = mounts.iter().rev().find(|mount| mount.point == path)?;
    let around = mounts.iter().rev().filter(|mount| mount.point != path && path.starts_with(&mount.point));
    let around = around.max_by_key(|mount| mount.point.components().count());
    // As with ReadWritePaths= of systemd: mounted onto itself, the file has one name.
    let is_same = around.is_some_and(|around| {
        let below = path.strip_prefix(&around.point).unwrap_or(path);
        around.device == own.device && around.root.join(below) == own.root
    });
    Some(!is_same)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Mount { device: device.to_owned(), root: unescaped(root), point: unescaped(point) })
}

/// Space, tab, line feed and backslash are written as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        40 22 8:2 /vol /srv/my\\040data rw shared:1 - ext4 /dev/sdb1 rw\n\
        41 40 8:2 /vol/app.db /srv/my\\040data/app.db rw - ext4 /dev/sdb1 rw\n\
        42 40 8:2 /vol/other/app.db /srv/my\\040data/alias.db rw - ext4 /dev/sdb1 rw\n\
        43 22 8:3 /app.db /data/app.db rw - ext4 /dev/sdc1 rw\n\
        44 22 8:1 /var/lib/back\\134slash.db /data/\\134.db rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn a_file_mounted_alone_is_told_from_one_mounted_onto_itself_and_from_none() {
        let judge = |path: &str| judge(MOUNTS, Path::new(path));
        assert_eq!(judge("/srv/my data/alias.db"), Some(true), "under another name of the same filesystem");
        assert_eq!(judge("/data/app.db"), Some(true), "from another filesystem");
        assert_eq!(judge("/data/\\.db"), Some(true), "with a backslash in its name");
        assert_eq!(judge("/srv/my data/app.db"), Some(false), "mounted onto itself");
        assert_eq!(judge("/srv/my data/third.db"), None);
        assert_eq!(judge("/data/elsewhere.db"), None);
    }

    #[test]
    fn a_hard_link_is_a_second_name_unless_a_restore_in_place_made_it() {
        let base = tempfile::tempdir().unwrap();
        let path = resolved(base.path()).join("app.db");
        std::fs::write(&path, "").unwrap();
        assert_eq!(second(&path), None);
        let kept = base.path().join("app.db.before-restore-20260101T000000Z");
        std::fs::hard_link(&path, kept).unwrap();
        assert_eq!(second(&path), None);
        std::fs::hard_link(&path, base.path().join("alias.db")).unwrap();
        assert_eq!(second(&path), Some(SecondName::HardLink { path, links: 2 }));
    }
}
