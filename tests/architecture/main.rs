//! The rules of the source tree that no compiler checks: which room may use which, one SQLite, no
//! file without its purpose, nothing that users see without its line in the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod calls;
mod dependencies;
mod documents;
mod rooms;
mod source;
mod uses;
