//! The words in which the program speaks of its work: kinds of job, why a run starts, how it ends,
//! what a check finds. Each is one word in labels, in the run history and in JSON. Decides nothing,
//! and knows none of the other rooms.

mod cause;
mod job_kind;
mod outcome;
pub mod progress;
mod verdict;

pub use cause::Cause;
pub use job_kind::JobKind;
pub use outcome::Outcome;
pub use verdict::Verdict;
