//! `restore --in-place`: beside applications, beside the daemon, checked, and killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod beside;
mod checks;
mod elsewhere;
mod fixture;
mod in_place;
mod in_use;
mod killed;
mod not_let_go;
mod steps;

#[path = "../support/mod.rs"]
mod support;
