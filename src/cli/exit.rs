//! Exit codes, and how an error is shown on the way out. Judges nothing: the code follows from the error's reason.

use serde::Serialize;

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

/// For `litekeeper --help`.
pub(super) const HELP: &str = "\
Exit codes:
  0   ok
  1   failed
  2   usage
  3   partly done
  10  no such database or backup
  11  locked by another run or open elsewhere
  12  damaged
  78  the configuration is not valid

With --json, an error is {\"error\": {\"reason\": WORD, \"message\": TEXT}} on stdout;
the text is on stderr as well.";

/// The exit code for an error.
pub(super) const fn code(reason: Reason) -> u8 {
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
        Reason::Config => out::show(&error.message),
        _ => out::say(&format!("litekeeper: {error}")),
    }
    if json {
        // Where stdout is full as well, stderr has said it.
        let _ = out::json(&serde_json::json!({ "error": Fault::from(error) }));
    }
}
