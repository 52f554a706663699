//! The files of a database and who has them, by name, by `stat` and by `/proc`. Must never open a
//! database (HAZARDS H1).

pub mod access;
pub mod aliases;
pub(in crate::sqlite) mod descriptor;
pub mod fileset;
pub mod header;
pub mod holders;
pub mod paths;
pub mod place;
pub mod read_only;
pub mod replicator;
pub mod space;
pub mod stamp;
pub(in crate::sqlite) mod system_calls;
pub mod versions;
