//! litekeeper keeps SQLite databases: it backs them up, maintains, prunes and watches them while their
//! applications use them.

pub mod clock;
pub mod config;
pub mod error;
pub mod queries;
pub mod schedule;
