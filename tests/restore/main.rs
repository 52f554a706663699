//! `restore --in-place`: beside applications, beside the daemon, checked, and killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod beside;
mod checks;
mod in_place;
mod killed;

#[path = "../support/mod.rs"]
mod support;
