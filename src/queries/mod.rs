//! WHICH statements hurt: a statement's shape, so that runs of the same statement can be counted
//! together and shown without the data in it; the log of the slow ones; and query plans that can be
//! compared.

pub mod foreign;
pub mod known;
pub mod plans;
pub mod slow_log;
pub mod watched;
