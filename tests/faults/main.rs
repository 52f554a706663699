//! Backups under real faults: full disks, failing system calls, SIGKILL, power cuts, damaged files,
//! a source that goes away. After each: every listed backup restores, none that restores is lost,
//! the source is untouched, and the failure is loud. Maintenance and cleanup under SIGKILL and
//! power cuts: the database has every commit and every row that should stay, the history tells the
//! truth, and the next run finishes the work. Everything goes through the real program and the
//! files that it leaves, beside an application that writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::print_stdout, reason = "how far a sweep came, beside the failure that it explains")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach it")]

mod calls;
mod crash_model;
mod damage;
mod disks;
mod image;
mod kills;
mod power;
mod scene;
mod seeds;
mod source;
mod tracer;
mod upkeep;

#[path = "../support/mod.rs"]
mod support;
