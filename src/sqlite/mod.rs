//! FILE: one connection or one path; synchronous; knows no configuration and no runtime.
//! Must never open a live database but through SQLite (HAZARDS H1): `stat` by path is all that is done beside it, and
//! what SQLite refuses as no database is looked at by another process.

pub mod access;
pub mod aliases;
pub mod analyze;
mod bounds;
pub mod checkpoint;
mod checkpoint_lock;
pub mod checks;
pub mod copy;
mod descriptor;
pub mod exclusive;
pub mod explain;
pub mod facts;
pub mod fileset;
pub mod fulltext;
pub mod header;
pub mod hold;
pub mod holders;
pub mod incremental;
pub mod inspector;
pub mod keys;
pub mod open;
pub mod overwrite;
pub mod pages;
pub mod pauses;
pub mod place;
pub mod query;
pub mod rebuild;
pub mod replicator;
pub mod rowids;
pub mod salvage;
pub mod schema;
mod sink;
pub mod sizes;
pub mod snapshot;
pub mod space;
pub mod stamp;
pub mod statistics;
mod system_calls;
pub mod tokenizer;
pub mod vacuum;
pub mod versions;
