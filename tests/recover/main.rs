//! Salvage: what is read of damaged databases, beside what SQLite itself and the `sqlite3` shell's
//! `.recover` read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod at_the_keyboard;
mod beside_the_shell;
mod carried_over;
mod commands;
mod damage;
mod databases;
mod evidence;
mod images;
mod random;
mod reader;
mod rows;
mod scratch;
mod search;
