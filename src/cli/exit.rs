//! Exit codes, and how an error is shown on the way out. Judges nothing: the code follows from the
//! error's reason.

use serde::Serialize;

use super::journal;
use super::terminal::out;
use crate::error::{Error, Reason};

pub(super) const OK: u8 = 0;
pub(super) const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const PARTLY: u8 = 3;
pub(super) const NOT_FOUND: u8 = 10;
pub(super) const LOCKED: u8 = 11;
pub(super) const DAMAGED: u8 = 12;
pub(super) const CONFIG: u8 = 78;

/// Every exit code and its meaning. Those of one command may say more: see its `--help`.
pub const CODES: [(u8, &str); 8] = [
    (OK, "ok"),
    (FAILED, "failed"),
    (USAGE, "usage"),
    (PARTLY, "partly done"),
    (NOT_FOUND, "no such database or backup"),
    (LOCKED, "locked by another run or open elsewhere"),
    (DAMAGED, "damaged"),
    (CONFIG, "the configuration is not valid"),
];

/// For `litekeeper --help`.
pub(super) fn help() -> String {
    let codes = CODES.map(|(code, meaning)| format!("  {code:<2}  {meaning}\n")).concat();
    format!(
        "Exit codes:\n{codes}\n\
         With --json, an error is {{\"error\": {{\"reason\": WORD, \"message\": TEXT}}}} on stdout;\n\
         the text is on stderr as well."
    )
}

/// The exit code for an error.
pub const fn code(reason: Reason) -> u8 {
    match reason {
        Reason::NotFound | Reason::Vanished => NOT_FOUND,
        Reason::Locked => LOCKED,
        Reason::NoPause => PARTLY,
        Reason::Damaged => DAMAGED,
        Reason::Config => CONFIG,
        _ => FAILED,
    }
}

/// An error in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Fault<'a> {
    reason: Reason,
    message: &'a str,
}

impl<'a> From<&'a Error> for Fault<'a> {
    fn from(error: &'a Error) -> Self {
        Self { reason: error.reason, message: &error.message }
    }
}

/// Says in JSON that the command line is wrong; clap has said it on stderr.
pub(super) fn tell_usage(message: &str) {
    let message = message.trim().trim_start_matches("error: ");
    let _ = out::json(&serde_json::json!({ "error": { "reason": "usage", "message": message } }));
}

/// Shows an error to the user.
pub(super) fn tell(error: &Error, json: bool) {
    match error.reason {
        // Has its own form, with lines and carets.
        Reason::Config => out::show(&journal::as_error(&error.message)),
        _ if journal::is_stderr() => out::show(&journal::as_error(&format!("litekeeper: {error}"))),
        _ => out::say(&format!("litekeeper: {error}")),
    }
    if json {
        // Where stdout is full as well, stderr has said it.
        let _ = out::json(&serde_json::json!({ "error": Fault::from(error) }));
    }
}
