//! litekeeper keeps SQLite databases: it backs them up, maintains, prunes and watches them while their
//! applications use them.

pub mod clock;
pub mod config;
pub mod demo;
pub mod error;
pub mod jobs;
pub mod metrics;
pub mod pool;
pub mod queries;
pub mod schedule;
pub mod sqlite;
pub mod state;
