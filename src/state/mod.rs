//! MEMORY: what the daemon knows of itself.

pub mod status;
