//! Why a run is started, as the word that the run history and JSON use.

use serde::{Deserialize, Serialize};

/// Why a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its time had come.
    Schedule,
    /// Its time had come while the daemon was down.
    CatchUp,
    /// From the command line.
    Manual,
    /// The daemon saw that it was needed.
    Upkeep,
}

impl Cause {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch_up",
            Self::Manual => "manual",
            Self::Upkeep => "upkeep",
        }
    }
}
