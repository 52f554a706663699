//! Retention: what goes, what stays whatever a rule says, and what the application notices of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod archive;
mod beside;
mod children;
mod fulltext;
mod limits;
mod log;
mod rows;

#[path = "../support/mod.rs"]
mod support;
