//! How a database of an application is written to: one door, and the write-ahead log behind it.
//! Must never write where the lock for checkpoints is not held (HAZARDS H29).

pub mod checkpoint;
mod checkpoint_lock;
pub mod hold;
