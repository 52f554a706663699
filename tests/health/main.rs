//! What is wrong with a database or slow in it, what would help, and what the daemon does with
//! damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod advise;
mod at_odds;
mod checks;
mod damaged;
mod fingerprint;
mod fixture;
mod integrity;
mod log;
mod slow;
mod stand_ins;
mod trends;
mod watch;

#[path = "../support/mod.rs"]
mod support;
