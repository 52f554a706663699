//! The one error of the program: what failed, why, and whether trying again can help.
//! Must never carry SQL literals, credentials or row data: its text reaches the log and the run history.

use std::fmt;

pub use reason::Reason;

// By its path, because tests/fuzz has this file in a crate of its own.
#[path = "error/reason.rs"]
mod reason;

/// Whether trying again can help. Decides who retries: `pool` retries [`Class::Transient`] opens, the job
/// runner retries [`Class::Transient`] runs, nobody retries the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May go away by itself: a lock held by the application, a full pool.
    Transient,
    /// Stays until somebody acts.
    Permanent,
    /// We were told to stop.
    Cancelled,
}

/// What failed, why, and what to do about it, in one sentence or two for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Why, as one word.
    pub reason: Reason,
    /// What failed and what to do: complete sentences without a final full stop.
    pub message: String,
}

/// `Result` with this crate's [`struct@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its reason and its text.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// An error of the operating system, with what was being done: `cannot write /x/y: No space left on device`.
    pub fn io(doing: impl fmt::Display, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let reason = match cause.kind() {
            K::NotFound => Reason::NotFound,
            K::PermissionDenied => Reason::Permission,
            K::ReadOnlyFilesystem => Reason::ReadOnly,
            K::StorageFull | K::QuotaExceeded => Reason::NoSpace,
            _ => Reason::Io,
        };
        Self::new(reason, format!("{doing}: {}", strip_os_code(cause)))
    }

    /// The same error with what was being done put in front: `backup of x: …`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Whether trying again can help.
    pub const fn class(&self) -> Class {
        self.reason.class()
    }
}

/// `No space left on device (os error 28)` without the number, which tells an operator nothing.
fn strip_os_code(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// SQLite's text without what it quotes of a statement, where that may be a value.
fn without_data(text: String) -> String {
    for quoting in [
        "unrecognized token: ",
        "bad JSON path: ",
        "fts5: syntax error near ",
        "malformed MATCH expression: ",
        "unknown special query: ",
    ] {
        if let Some(at) = text.find(quoting) {
            return text[..at + quoting.len()].trim_end().trim_end_matches(':').to_owned();
        }
    }
    let is_value = |rest: &str| {
        rest.starts_with(|c: char| c.is_ascii_digit() || "'\"`[".contains(c))
            || rest.chars().nth(1) == Some('\'')
    };
    match text.strip_prefix("near \"") {
        Some(rest) if rest.len() > 1 && is_value(rest) => String::from("syntax error near a value"),
        _ => text,
    }
}

/// How SQLite's own word for an error of the operating system begins. It names no file.
pub(crate) const DISK_ERROR: &str = "disk I/O error";

impl From<rusqlite::Error> for Error {
    fn from(cause: rusqlite::Error) -> Self {
        use rusqlite::ffi::ErrorCode as C;
        let text = match &cause {
            // `SqlInputError` shows the whole SQL text; its message alone names the table or function.
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            // RAISE may put the row's own values into its text.
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER =>
            {
                String::from("a trigger refuses it (RAISE)")
            }
            // SQLite takes the room for this file in advance, and has no other word for a disk that has none.
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE =>
            {
                format!(
                    "{DISK_ERROR}: its -shm file cannot be made or grown; free some space if that disk is full"
                )
            }
            other => other.to_string(),
        };
        let text = without_data(text);
        // A function in an index or a generated column is "unknown", one in a statement "no such".
        let lacks = [
            "no such function",
            "unknown function",
            "no such collation sequence",
            "no such module",
            "no such tokenizer",
            "unknown tokenizer",
        ];
        let reason = match cause.sqlite_error_code() {
            Some(C::DatabaseBusy | C::DatabaseLocked) => Reason::Busy,
            Some(C::OperationInterrupted) => Reason::Cancelled,
            Some(C::DatabaseCorrupt) => Reason::Damaged,
            Some(C::NotADatabase) => Reason::NotADatabase,
            Some(C::ReadOnly | C::PermissionDenied) => Reason::Permission,
            Some(C::DiskFull) => Reason::NoSpace,
            Some(C::SystemIoFailure) => Reason::Io,
            _ if lacks.iter().any(|l| text.contains(l)) => Reason::Unsupported,
            _ => Reason::Sqlite,
        };
        Self::new(reason, text)
    }
}
