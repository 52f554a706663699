//! litekeeper keeps SQLite databases: it backs them up, maintains, prunes and watches them while
//! their applications use them.
//!
//! The supervisor is the middle of a star. An arrow is a call; imports run the same way and never
//! back. A room uses its own and those listed below it:
//!
//! ```text
//!         cli  a file for each verb         demo  a sample database and its application
//!          │                                 │
//!          ▼                                 ▼
//!   http ◄──────────── supervisor ────────────► schedule   what is due, what may start now; pure
//!   the page and           │     └────────────► survey     what can be seen without a job; also for
//!   /metrics               │                               `status` and `check` without a daemon
//!                          ▼
//!                        jobs                   one runner for all kinds, a folder for each kind
//!     ┌──────────┬─────────┴───┬──────────┐
//!     ▼          ▼             ▼          ▼
//!   advice    queries        store      pool    the connections to live databases
//!     └──────────┴──────┬──────┴──────────┘
//!                       ▼
//!          state                sqlite          runs, facts, locks │ one connection, or one path
//!            └──────────┬─────────┘
//!                       ▼
//!   config     intent, as one value that does not change
//!   metrics    what is told to Prometheus and the log, together
//!   sql        words of SQL: tokens, quoting, shapes
//!   terms      words of the field: kinds of job, outcomes, verdicts, progress
//!   clock, words, rights, priority, error
//!   descriptors
//! ```
//!
//! `state` lies below `pool` and not beside it because it is a database of our own: it needs SQLite
//! and none of what protects an application. The modules are listed in this order; a test holds the
//! imports to it.

pub mod cli;
pub mod demo;
pub mod supervisor;
pub mod survey;
pub mod http;
pub mod schedule;
pub mod jobs;
pub mod advice;
pub mod queries;
pub mod store;
pub mod pool;
pub mod state;
pub mod sqlite;
pub mod config;
pub mod metrics;
pub mod sql;
pub mod terms;
pub mod words;
pub mod clock;
pub mod priority;
pub mod rights;
pub mod error;
pub mod descriptors;
