//! FILE: one connection or one path; synchronous; knows no configuration and no runtime. Must never
//! open a live database but through SQLite (HAZARDS H1): `stat` by path is all that is done beside
//! it, and what SQLite refuses as no database is looked at by another process.
//!
//! A folder uses those below it: `upkeep`, `copy` and `inspector` stand on `open` and `checks`,
//! these on `write`, and all of them on `look` (reads by SQL) and `files` (looks by `stat`).
//! `process` starts this program once more; `pages` and `salvage` read a file without SQLite.

pub mod upkeep;
pub mod copy;
pub mod inspector;
pub mod salvage;
pub mod pages;
pub mod open;
pub mod checks;
pub mod write;
pub mod pauses;
mod process;
pub mod look;
pub mod files;
mod failed_reads;
