//! Maintenance of a database that another process uses: what it finds, decides and does, what it
//! leaves alone, and what the application notices of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod checkpoints;
mod compact;
mod damage;
mod decisions;
mod fixture;
mod indexes;
mod log;
mod pauses;
mod space;
mod statistics;
mod vacuum;
mod whole;

#[path = "../support/mod.rs"]
mod support;
