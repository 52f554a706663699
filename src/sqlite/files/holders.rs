//! Who has a file open or locked now, told from `/proc` without opening the file (HAZARDS H1, H18).
//! SQLite's own locks do not tell: in rollback mode an idle connection holds none, and would go on
//! with the old file after another was put in its place. Must never claim to have seen everybody
//! where it has not.

use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use serde::Serialize;

use super::access::{self, Identity};
use super::paths::{SIDECARS, resolved, sidecar};
use crate::{rights, words};

/// The inode of the first PID namespace (PROC_PID_INIT_INO in linux/proc_ns.h): who lives in it
/// sees all processes.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// PF_KTHREAD in the flags of `/proc/PID/stat` (linux/sched.h): a thread of the kernel, which opens
/// no databases.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Enough of a command line to know it by.
const LONGEST_COMMAND: usize = 60;

/// A process that has a file open or locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// How it was started, without options and what looks like a setting.
    pub command: String,
    /// The name of its user, or the number where that has no name here.
    pub user: String,
    /// The systemd service that it belongs to.
    pub unit: Option<String>,
    /// Whether it is another litekeeper.
    #[serde(skip)]
    pub is_litekeeper: bool,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({}, user {}", self.pid, self.command, self.user)?;
        match &self.unit {
            Some(unit) => write!(f, ", {unit})"),
            None => f.write_str(")"),
        }
    }
}

impl Holder {
    /// Which program it is, without the number that it has this time.
    pub fn program(&self) -> String {
        let of = self.unit.as_deref().map_or_else(|| format!("user {}", self.user), str::to_owned);
        format!("{} ({of})", self.command)
    }
}

/// What could be seen.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// Those that have one of the files open or locked, by their number; never this process.
    pub holders: Vec<Holder>,
    /// Why others may have it open unseen; `None` where all processes of this machine were looked
    /// into.
    pub unseen: Option<String>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct FileSelection<'a> {
    /// Files that are there.
    pub there: &'a [Identity],
    /// Names under which a file may have been removed while somebody had it open, who still goes on
    /// with it.
    pub removed: &'a [PathBuf],
}

/// Looks for those that have one of `files` open or locked.
pub fn of(files: FileSelection<'_>) -> Holders {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Holders { holders: Vec::new(), unseen: Some(String::from("/proc cannot be read")) };
    };
    let (mut pids, mut hidden) = (lock_holders(files.there, &(0..=u64::MAX), false), 0);
    for pid in processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
        match has_open(pid, files) {
            Some(true) => pids.push(pid),
            Some(false) => {}
            None => hidden += 1,
        }
    }
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|&pid| pid != std::process::id());
    Holders { holders: pids.into_iter().map(holder).collect(), unseen: unseen(hidden) }
}

/// A database's file and those beside it: the names, and the files that are there.
pub fn set(path: &Path) -> (Vec<PathBuf>, Vec<Identity>) {
    let names: Vec<PathBuf> =
        std::iter::once(path.to_owned()).chain(SIDECARS.map(|suffix| sidecar(path, suffix))).collect();
    let there = names.iter().filter_map(|name| access::identity(name)).collect();
    (names, there)
}

/// Whether this process has the database or a file beside it open.
pub fn is_open_here(path: &Path) -> bool {
    let (names, there) = set(&resolved(path));
    has_open(std::process::id(), FileSelection { there: &there, removed: &names }) == Some(true)
}

/// Those that have a file locked so that nobody else gets in, as far as the kernel's list of locks
/// tells.
pub fn locked_by(file: Identity) -> Vec<Holder> {
    let mut pids = lock_holders(&[file], &(0..=u64::MAX), true);
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|&pid| pid != std::process::id());
    pids.into_iter().map(holder).collect()
}

/// Those that have a transaction open which reads from a write-ahead log, by the locks on its
/// `-shm` file (the bytes of WAL_READ_LOCK in SQLite's wal.c); perhaps this process. Not everybody,
/// where `/proc/locks` does not show everybody. Where there are several, those that are seen each
/// time within 0.2 s: who only commits often is not the one that stays.
pub fn of_log(shm: Identity) -> Vec<Holder> {
    const READ_LOCKS: RangeInclusive<u64> = 123..=127;
    const LOOKS: usize = 8;
    const BETWEEN_LOOKS: Duration = Duration::from_millis(25);
    let mut pids = lock_holders(&[shm], &READ_LOCKS, false);
    pids.sort_unstable();
    pids.dedup();
    for _ in 1..LOOKS {
        if pids.len() < 2 {
            break;
        }
        thread::sleep(BETWEEN_LOOKS);
        let now = lock_holders(&[shm], &READ_LOCKS, false);
        if !pids.iter().any(|pid| now.contains(pid)) {
            break;
        }
        pids.retain(|pid| now.contains(pid));
    }
    pids.into_iter().map(holder).collect()
}

/// `None` where we may not know.
fn has_open(pid: u32, files: FileSelection<'_>) -> Option<bool> {
    let listed = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(listed) => listed,
        Err(e) if e.kind() == ErrorKind::PermissionDenied && opens_files(pid) => return None,
        // It has ended meanwhile, or is none that could.
        Err(_) => return Some(false),
    };
    Some(listed.filter_map(Result::ok).any(|entry| {
        // Without asking a server that may be away what else there is to know of its files.
        let wanted = StatxFlags::INO | StatxFlags::NLINK;
        let Ok(stat) = statx(CWD, entry.path(), AtFlags::STATX_DONT_SYNC, wanted) else { return false };
        let identity = (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino);
        files.there.contains(&identity) || (stat.stx_nlink == 0 && was_removed(&entry.path(), files.removed))
    }))
}

/// The kernel shows the name that such a file had as `/srv/x.sqlite (deleted)`.
fn was_removed(descriptor: &Path, names: &[PathBuf]) -> bool {
    let Ok(shown) = fs::read_link(descriptor) else { return false };
    let name = shown.as_os_str().as_bytes().strip_suffix(b" (deleted)");
    name.is_some_and(|name| names.iter().any(|known| known.as_os_str().as_bytes() == name))
}

/// Not so the kernel's own threads, nor a process that has ended and was not yet waited for.
fn opens_files(pid: u32) -> bool {
    let Some(fields) = stat(pid) else { return false };
    let is_dead = matches!(fields.first().map(String::as_str), Some("Z" | "X"));
    let flags: u64 = fields.get(6).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    !is_dead && flags & KERNEL_THREAD == 0
}

/// Lines of `/proc/locks`: `1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`, with `->` after the
/// number for one that waits. It tells everybody of everybody's locks, but for those of other
/// containers. Only locks that begin in `bytes`, and, where asked for, that let nobody else in.
fn lock_holders(files: &[Identity], bytes: &RangeInclusive<u64>, exclusive: bool) -> Vec<u32> {
    let Ok(locks) = fs::read_to_string("/proc/locks") else { return Vec::new() };
    let holder = |line: &str| {
        let mut words = line.split_whitespace().skip(1).filter(|word| *word != "->").skip(3);
        let (pid, file) = (words.next()?, words.next()?);
        let mut parts = file.split(':');
        let (major, minor) = (parts.next()?, parts.next()?);
        let device = makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let is_one = files.contains(&(device, parts.next()?.parse().ok()?))
            && bytes.contains(&words.next()?.parse().ok()?);
        // -1: a lock of an open file, and not of one process.
        (is_one && pid != "-1").then(|| pid.parse().ok())?
    };
    locks.lines().filter(|line| !exclusive || line.contains(" WRITE ")).filter_map(holder).collect()
}

fn unseen(hidden: usize) -> Option<String> {
    if hidden > 0 {
        let those = words::plural(hidden as u64, "process", "processes");
        return Some(format!("which files {those} of other users have open cannot be seen; root can"));
    }
    if !Path::new("/proc/1").exists() {
        return Some(String::from("/proc hides the processes of other users; root sees them"));
    }
    let namespace = fs::read_link("/proc/self/ns/pid");
    (!namespace.is_ok_and(|namespace| namespace.as_os_str() == FIRST_PID_NAMESPACE))
        .then(|| String::from("processes outside this container cannot be seen"))
}

/// The process that has started one; `None` where that cannot be told.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of `/proc/PID/stat` from the state on: behind the command in parentheses, which may
/// hold anything (proc_pid_stat(5), from 3). `None` where there is no such process.
pub fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn holder(pid: u32) -> Holder {
    let of_process = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let name = of_process("comm").trim().to_owned();
    let uid = fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
    Holder {
        pid,
        command: command(&of_process("cmdline")).unwrap_or_else(|| name.clone()),
        user: uid.map_or_else(|_| String::from("unknown"), rights::user),
        unit: rights::unit::of_process(&pid.to_string()),
        is_litekeeper: name == "litekeeper",
    }
}

/// The first words of a command line, up to the first option or setting: what follows may be a
/// secret.
fn command(line: &str) -> Option<String> {
    let mut words = line.split('\0').take_while(|word| !word.is_empty());
    let program = words.next()?;
    let is_plain = |word: &&str| !word.starts_with('-') && !word.contains(['=', '\n']);
    let text: Vec<&str> = std::iter::once(program).chain(words.take_while(is_plain)).collect();
    // Whoever started it chose the words: none may move the cursor of who reads them.
    let plain = |c: char| if c.is_control() { '?' } else { c };
    Some(text.join(" ").chars().take(LONGEST_COMMAND).map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_its_first_words_and_tells_no_setting() {
        assert_eq!(
            command("python3\0/srv/app/manage.py\0--key=x\0run\0").as_deref(),
            Some("python3 /srv/app/manage.py")
        );
        assert_eq!(command("app\0TOKEN=x\0").as_deref(), Some("app"));
        assert_eq!(command(""), None);
    }
}
