//! When jobs run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod admission;
mod blackout;
mod calendar;
mod catch_up;
mod fixtures;
mod jitter;
mod ticks;
mod timetable;
mod wall_clock;

#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
#[path = "../support/configured.rs"]
mod configured;
