//! What the sandbox of a systemd unit makes of a path, told by the mounts that this process sees
//! (proc_pid_mountinfo(5)): a directory that is writable for everybody else is read-only or empty
//! there. Judges by what is mounted; must never try to write.

use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::unit;

/// The directories that `ProtectHome=` hides (systemd.exec(5)).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// What keeps us from a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// The filesystem is writable, and this mount of it is not.
    ReadOnly,
    /// `ProtectHome=`: nothing of it is there.
    HiddenHome,
    /// `InaccessiblePaths=`.
    Inaccessible,
    /// `PrivateTmp=`: another directory is there.
    OwnTemporary,
}

/// One mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// What of its filesystem is mounted.
    root: String,
    point: PathBuf,
    is_read_only: bool,
    filesystem: String,
    /// Whether nobody may write to the filesystem, wherever it is mounted.
    is_read_only_at_all: bool,
}

/// Why `directory` cannot be written here, and the commands that mend it, where it is the sandbox of
/// our own unit; `None` where it is not.
pub fn read_only(directory: &Path) -> Option<String> {
    let unit = unit::own()?;
    (barrier(&mounts(), directory) == Some(Barrier::ReadOnly)).then(|| opened(&unit, directory))
}

/// Why nothing is seen in `directory`, and the commands that mend it, where it is the sandbox of our
/// own unit; `None` where it is not.
pub fn hidden(directory: &Path) -> Option<String> {
    let unit = unit::own()?;
    let (why, settings) = match barrier(&mounts(), directory)? {
        Barrier::ReadOnly => return None,
        Barrier::HiddenHome => {
            ("ProtectHome= hides it", vec![("ProtectHome", Path::new("tmpfs")), ("BindPaths", directory)])
        }
        Barrier::OwnTemporary => {
            ("PrivateTmp= gives it a directory of its own", vec![("BindPaths", directory)])
        }
        Barrier::Inaccessible => {
            return Some(format!("{unit} does not see {}: InaccessiblePaths= hides it", directory.display()));
        }
    };
    Some(format!(
        "{unit} does not see {}: {why}; show it by a drop-in: {}",
        directory.display(),
        unit::drop_in(&unit, &settings)
    ))
}

/// Whether `directory` is on a filesystem that can be written, by a mount that cannot.
pub fn is_read_only_mount(directory: &Path) -> bool {
    barrier(&mounts(), directory) == Some(Barrier::ReadOnly)
}

fn opened(unit: &str, directory: &Path) -> String {
    format!(
        "the filesystem is writable, but {unit} may not write to {}; open it by a drop-in: {}",
        directory.display(),
        unit::drop_in(unit, &[("ReadWritePaths", directory)])
    )
}

fn mounts() -> Vec<Mount> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/root rw,errors=continue`, where any
/// number of fields stands before the hyphen.
fn mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let hyphen = fields.iter().position(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let is_read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(Mount {
        root: text(fields.get(3)?),
        point: unescaped(fields.get(4)?),
        is_read_only: is_read_only(fields.get(5)?),
        filesystem: text(fields.get(hyphen + 1)?),
        is_read_only_at_all: is_read_only(fields.get(hyphen + 3)?),
    })
}

/// `\040` is a blank: blanks, line ends and backslashes are written in octal.
fn unescaped(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), field);
    while let Some((first, after)) = rest.split_first() {
        let octal = || u8::from_str_radix(std::str::from_utf8(after.get(..3)?).ok()?, 8).ok();
        if let (b'\\', Some(byte)) = (first, octal()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn barrier(mounts: &[Mount], path: &Path) -> Option<Barrier> {
    // A later mount covers an earlier one of the same place.
    let mount = mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().as_bytes().len())?;
    let is_home = HOMES.iter().any(|home| mount.point == Path::new(home));
    if mount.root.ends_with("/systemd/inaccessible/dir") {
        return Some(if is_home { Barrier::HiddenHome } else { Barrier::Inaccessible });
    }
    if mount.root.contains("/systemd-private-") {
        return Some(Barrier::OwnTemporary);
    }
    // An own /run/user/1000 is not mounted read-only, and is none of these three either.
    if is_home && mount.filesystem == "tmpfs" && mount.is_read_only {
        return Some(Barrier::HiddenHome);
    }
    (mount.is_read_only && !mount.is_read_only_at_all).then_some(Barrier::ReadOnly)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the daemon sees them in a unit with ProtectSystem=strict, ProtectHome=yes, PrivateTmp=yes and
    /// one ReadWritePaths=; the last line is a disk that is mounted read-only for everybody.
    const SEEN: &str = "\
100 90 254:1 / / ro,relatime shared:1 - ext4 /dev/vda1 rw
101 100 254:1 /srv/a\\040b /srv/a\\040b rw,relatime - ext4 /dev/vda1 rw
102 100 0:25 /systemd/inaccessible/dir /home ro,nosuid master:5 - tmpfs tmpfs rw,mode=755
103 100 254:1 /tmp/systemd-private-1-litekeeper.service-x/tmp /tmp rw - ext4 /dev/vda1 rw
104 100 0:40 / /root ro,nosuid - tmpfs tmpfs ro,mode=755
105 100 254:2 / /mnt/old ro,relatime - ext4 /dev/vdb1 ro
106 100 0:25 /systemd/inaccessible/dir /srv/secret ro - tmpfs tmpfs rw";

    #[test]
    fn the_mounts_tell_what_a_sandbox_makes_of_a_path() {
        let mounts: Vec<Mount> = SEEN.as_bytes().split(|byte| *byte == b'\n').filter_map(mount).collect();
        assert_eq!(mounts.len(), 7);
        for (path, expected) in [
            ("/srv/attendance", Some(Barrier::ReadOnly)),
            ("/srv/a b/c", None),
            ("/home/shop/data", Some(Barrier::HiddenHome)),
            ("/root/data", Some(Barrier::HiddenHome)),
            ("/tmp/data", Some(Barrier::OwnTemporary)),
            ("/mnt/old/data", None),
            ("/srv/secret", Some(Barrier::Inaccessible)),
        ] {
            assert_eq!(barrier(&mounts, Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_later_mount_covers_an_earlier_one() {
        let twice = b"1 0 8:1 / /srv rw - ext4 a rw\n2 1 8:1 / /srv ro - ext4 a rw";
        let mounts: Vec<Mount> = twice.split(|byte| *byte == b'\n').filter_map(mount).collect();
        assert_eq!(barrier(&mounts, Path::new("/srv/x")), Some(Barrier::ReadOnly));
    }
}
