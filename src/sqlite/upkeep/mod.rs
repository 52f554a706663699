//! What keeps a database well: free pages given back, statistics refreshed, indexes rebuilt, the
//! file compacted. Decides nothing: when, how much and how long at most is told by whoever calls.

pub mod analyze;
pub mod incremental;
pub mod needs;
pub mod overwrite;
pub mod rebuild;
pub mod statistics;
pub mod vacuum;
