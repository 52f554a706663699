//! A damaged `state.db` moved aside, so that a new one can be begun: kept under a name with the
//! time, a few of them. Must never move a file that is not the one that was found damaged.

use std::path::Path;

use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::access::{self, Identity};
use crate::sqlite::files::paths::SIDECARS;
use crate::state::files::StateFiles;

/// Its name in the state directory.
pub(in crate::state) const NAME: &str = "state.db";

/// How its name begins then; the time follows.
const BEGIN: &str = "state.db.damaged-";

/// Those that are kept, the newest.
const KEPT: usize = 3;

/// Moves it aside with its log, where the file at `path` is still the one that was judged.
pub(super) fn move_aside(
    files: &StateFiles,
    path: &Path,
    judged: Option<Identity>,
    found: &Error,
) -> Result<()> {
    if judged.is_none() || access::identity(path) != judged {
        // Another process was faster.
        return Ok(());
    }
    let name = format!("{BEGIN}{}", clock::now().format("%Y%m%dT%H%M%S%3fZ"));
    // The log first: it must not be taken for that of a new file.
    for suffix in SIDECARS.iter().copied().chain([""]) {
        files.rename(&format!("{NAME}{suffix}"), &format!("{name}{suffix}"))?;
    }
    tracing::warn!(
        "{} is damaged ({}): it was moved aside to {name}, and a new run history is begun; no backup needs it",
        path.display(),
        found.message
    );
    let mut all: Vec<String> = files.names()?.into_iter().filter(|name| name.starts_with(BEGIN)).collect();
    all.retain(|name| SIDECARS.iter().all(|suffix| !name.ends_with(suffix)));
    // The time in a name is of one length: the order of the names is theirs.
    all.sort();
    for old in all.iter().rev().skip(KEPT) {
        for suffix in SIDECARS.iter().copied().chain([""]) {
            files.remove(&format!("{old}{suffix}"))?;
        }
    }
    Ok(())
}

/// Whether this was said of the file by SQLite.
pub(super) const fn is_damage(error: &Error) -> bool {
    matches!(error.reason, Reason::Damaged | Reason::NotADatabase)
}
