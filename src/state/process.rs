//! Which process wrote something down, so that another one that has its number later is not taken
//! for it. Only reads `/proc`; must never signal anybody.

use std::fs;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::sqlite::files::holders::stat;

/// Field of `/proc/PID/stat` with the time at which the process started, in ticks since the machine
/// did, counted from the one behind the command's name (proc_pid_stat(5), 22).
const STARTED: usize = 19;

/// This process: the boot of the machine, and when in it the process started. Empty where `/proc`
/// does not tell.
pub(super) fn this() -> &'static str {
    static THIS: OnceLock<String> = OnceLock::new();
    THIS.get_or_init(|| of(std::process::id()).unwrap_or_default())
}

/// Whether the process that had this number, and wrote that it was `known`, still lives.
pub(super) fn lives(number: u32, known: &str) -> bool {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return false };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return false;
    }
    if known.is_empty() {
        // Of an older litekeeper. Ours is that of a process before us: this one writes what it is.
        return number != std::process::id();
    }
    match (of(number), boot()) {
        (Some(now), _) => now == known,
        // Processes of other users may be hidden; those of an earlier boot are gone.
        (None, Some(boot)) => known.starts_with(&boot),
        (None, None) => true,
    }
}

fn of(number: u32) -> Option<String> {
    Some(format!("{} {}", boot()?, stat(number)?.get(STARTED)?))
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}
