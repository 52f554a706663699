//! WHEN: decides what starts at which moment, and never opens a database.
//!
//! ```text
//! ticks ──(each second)──> timetable ──(what is due)──> admission ──(who may start now)──> the job runner
//!                              │                            ^
//!                           calendar + jitter + blackout    │ finished
//!                              │                            │
//! run history ────────────> catch_up ──(missed, once, at start)
//! ```
//!
//! Everything but `ticks` is a value with no clock of its own: the caller says what time it is.

pub mod admission;
pub mod blackout;
pub mod calendar;
pub mod catch_up;
pub mod jitter;
pub mod outlook;
pub mod ticks;
pub mod timetable;
pub mod upkeep;
