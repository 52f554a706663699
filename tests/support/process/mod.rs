//! Other processes: one of ours that plays a part, what a process prints, and what strace saw of
//! it.

pub mod child;
pub mod lines;
pub mod memory;
pub mod trace;
