//! The priority of threads that only compute: pack, unpack, hash, check a copy. Must never be
//! lowered on a thread that may hold a lock of a database, nor on one that somebody waits for who
//! does: starved, it would stall the application. Nor on one that is used again: without privileges
//! nobody can raise it.

/// The usual increment of nice(1). A program of ordinary priority that competes for a core gets
/// nine tenths of it. Linux derives the I/O priority from it, where the scheduler of the disk knows
/// any.
const NICE: i32 = 10;

/// Lowers that of the calling thread, until it ends. Where that is refused it stays as it is.
pub fn lower() {
    // By POSIX this is the process; on Linux priority belongs to a thread, and none named is the
    // calling one.
    let _ = rustix::process::setpriority_process(None, NICE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_this_thread() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // After the command in parentheses: state is field 3 of proc_pid_stat(5), nice is field 19.
        stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn only_the_thread_that_asks_is_lowered() {
        let before = of_this_thread();
        let lowered = std::thread::spawn(|| {
            lower();
            of_this_thread()
        });
        assert_eq!(lowered.join().unwrap(), NICE.max(before));
        assert_eq!(of_this_thread(), before);
    }
}
