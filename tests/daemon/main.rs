//! The daemon and its parts: its life, its courtesy, the runner of jobs, the schedule, the pool,
//! the state and the HTTP pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod courtesy;
mod every_job;
mod facts;
mod fixture;
mod given_up;
mod hangs;
mod http;
mod life;
mod memory;
mod metrics;
mod page;
mod pool;
mod reload;
mod runner;
mod runs;
mod schedule;
mod state;

#[path = "../support/mod.rs"]
mod support;
