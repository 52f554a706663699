//! The time of day. Everything that decides by the wall clock takes the time as an argument; only
//! the outermost callers ask here, so that pure parts stay pure.

use chrono::{DateTime, SubsecRound, Utc};

/// Now, in UTC, to the millisecond (what the run history and the manifests keep).
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
