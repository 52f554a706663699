//! What a user has before him: the commands, the configuration, the errors and the demo; and the
//! tools by which the other tests and the benchmark judge, which are proved here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod application;
mod backups;
mod benchmark;
mod check;
mod config;
mod demo;
mod documents;
mod errors;
mod fixture;
mod limited;
mod monitoring;
mod restores;
mod terminals;
mod troubles;
mod verbs;

#[path = "../support/mod.rs"]
mod support;
