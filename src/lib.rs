//! litekeeper keeps SQLite databases: it backs them up, maintains, prunes and watches them while
//! their applications use them.
//!
//! One direction, from intent to file. A room calls and imports only what is drawn below it or to
//! its right:
//!
//! ```text
//!  cli ── parses a verb, shows what comes back          demo ── a sample database and its application
//!   │
//!  supervisor ── start, the one loop, reload, drain ──> survey ── what is seen without a job
//!   │                                        └────────> http ── the status page and /metrics, read-only
//!   │
//!  schedule ── what is due, and what may start now
//!   │
//!  jobs ── what is done; one runner for all kinds ────> advice ── which indexes and statements would help
//!   │                                        ├────────> queries ── which statements hurt
//!   │                                        └────────> store ── where backups lie
//!  pool ── the connections; the asynchronous world ends here
//!   │
//!  state ── run history, remembered facts, locks
//!   │
//!  sqlite ── one connection or one path
//!   │
//!  config ── intent, as one immutable value
//!   │
//!  metrics ── what is told to Prometheus and the log
//!   │
//!  sql ── statements as text                            terms ── the words for jobs, outcomes and findings
//!   │
//!  words, clock, priority, rights, error
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
