//! Exit codes, and how an error is shown on the way out.

use crate::error::{Error, Reason};

pub(super) const OK: u8 = 0;
pub(super) const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const PARTLY: u8 = 3;
pub(super) const NOT_FOUND: u8 = 10;
pub(super) const LOCKED: u8 = 11;
pub(super) const DAMAGED: u8 = 12;
pub(super) const CONFIG: u8 = 78;

/// For `--help`.
pub(super) const HELP: &str = "\
Exit codes: 0 ok, 1 failed, 2 usage, 3 partly done, 10 no such database or backup,
            11 locked by another run, 12 damaged, 78 configuration";

/// The exit code for an error.
pub(super) const fn code(reason: Reason) -> u8 {
    match reason {
        Reason::NotFound => NOT_FOUND,
        Reason::Locked => LOCKED,
        Reason::Damaged => DAMAGED,
        Reason::Config => CONFIG,
        _ => FAILED,
    }
}

/// Shows an error to the user.
#[expect(clippy::print_stderr, reason = "what a command says about itself")]
pub(super) fn tell(error: &Error) {
    match error.reason {
        // Has its own form, with lines and carets.
        Reason::Config => eprintln!("{error}"),
        _ => eprintln!("litekeeper: {error}"),
    }
}
