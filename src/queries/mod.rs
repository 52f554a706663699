//! WHICH statements hurt.
pub mod slow_log;
