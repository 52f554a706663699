//! WHICH statements hurt: a statement's shape, so that runs of the same statement can be counted together and
//! shown without the data in it; and the log of the slow ones.

pub mod fingerprint;
pub mod slow_log;
mod tokens;
