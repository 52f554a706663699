//! WHICH statements hurt: a statement's shape, so that runs of the same statement can be counted together and
//! shown without the data in it.

pub mod fingerprint;
mod tokens;
