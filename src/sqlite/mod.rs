//! FILE: one connection or one path; synchronous; knows no configuration and no runtime.
//! Must never open a live database but through SQLite (HAZARDS H1): `stat` by path is all that is done beside it.

pub mod access;
pub mod checks;
pub mod explain;
pub mod facts;
pub mod open;
pub mod query;
pub mod replicator;
pub mod schema;
pub mod sizes;
