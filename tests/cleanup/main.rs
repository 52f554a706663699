//! Retention: what goes, what stays whatever a rule says, and what the application notices of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod archive;
mod batches;
mod beside;
mod bounds;
mod children;
mod fixture;
mod fulltext;
mod keys;
mod limits;
mod log;
mod previews;
mod rows;
mod triggers;
mod walks;

#[path = "../support/mod.rs"]
mod support;
