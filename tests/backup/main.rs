//! Backups beside a writing application, and the stream of pages that they are made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;
mod manifests;
mod missing;
mod runs;
mod schemas;
mod snapshot;
mod stopped;
mod unchanged;
mod verify;

#[path = "../support/mod.rs"]
mod support;
