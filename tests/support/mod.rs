//! What the integration tests stand on: a place to work in, an application in another process, the
//! real daemon, and the proof that a database is a state which existed. Must never sleep for a
//! guessed time: it waits for a line, an answer or an end, with a limit that only a hang reaches.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach it")]
#![allow(clippy::print_stderr, reason = "the daemon's log beside the failure that it explains")]

pub mod application;
pub mod backups;
pub mod calls;
pub mod configured;
pub mod counted;
pub mod daemon;
pub mod disk;
pub mod history;
pub mod http;
pub mod keeper;
pub mod metrics;
pub mod process;
pub mod restoring;
pub mod sandbox;
pub mod soundness;
pub mod sql;

use std::time::{Duration, Instant};

/// What takes longer than this hangs: far more than the slowest machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer; only for what nobody announces, such as a metric.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        // Lets the process that we ask get on.
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Says that this test cannot run here and why; an error under CI, where nothing may be skipped.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "skipped under CI: {why}");
    eprintln!("skipped: {why}");
}
