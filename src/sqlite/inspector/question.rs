//! What the two processes say to each other: a JSON value a line.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Failure, Reason};
use crate::sqlite::checks::Depth;
use crate::sqlite::files::access::Identity;

/// The flag by which the program is told to answer; nobody is shown it.
pub const FLAG: &str = "inspect";

/// The first line: which file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Subject {
    /// One that its application may be using.
    Live { path: PathBuf, identity: Option<Identity>, busy_timeout: Duration },
    /// One of our own that nobody changes.
    Copy { path: PathBuf },
}

/// Every line after it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    Open,
    Tables,
    Integrity { depth: Depth, table: Option<String> },
    References { table: String },
    Schema,
    Rows { table: String },
}

/// A line that comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer<T> {
    Found(T),
    Failed(Refusal),
}

/// An [`Error`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) sqlite: Option<Failure>,
    pub(super) file: Option<PathBuf>,
}

impl From<Error> for Refusal {
    fn from(Error { reason, message, sqlite, file }: Error) -> Self {
        Self { reason, message, sqlite, file }
    }
}
