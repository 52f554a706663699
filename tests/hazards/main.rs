//! What may happen to the files of others and to a caretaker among them: each with real processes
//! and the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod caretaker;
mod clients;
mod hostile;
mod machine;
mod one_file;
mod places;
mod processes;
mod read_only;
mod real;
mod tampered;
mod their_sqlite;

#[path = "../support/mod.rs"]
mod support;
