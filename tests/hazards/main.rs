//! What may happen to the files of others and to a caretaker among them: each with real processes and the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod caretaker;
mod hostile;
mod one_file;
mod places;
mod real;

#[path = "../support/mod.rs"]
mod support;
