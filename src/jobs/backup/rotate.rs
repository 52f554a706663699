//! Rotation: what `store::rotation` decides, carried out.

use chrono_tz::Tz;

use crate::config::Keep;
use crate::error::{Error, Reason, Result};
use crate::jobs::{Context, blocking};
use crate::store::Catalogue;

/// What rotation did.
#[derive(Debug, Default)]
pub(super) struct Rotated {
    /// Names of the backups that are gone.
    pub(super) removed: Vec<String>,
    /// Backups that should be gone and are not.
    pub(super) problems: Vec<Error>,
}

/// Removes what is past the policy. One that cannot be removed does not spare the others.
pub(super) async fn rotate(context: &Context, catalogue: Catalogue) -> Result<Rotated> {
    let (keep, zone) = (context.database.backup.keep, context.zone);
    let name = context.database.name.clone();
    blocking(move || sweep(&catalogue, &keep, zone, &name)).await
}

/// The same in any place, on a thread that may wait.
pub(super) fn sweep(catalogue: &Catalogue, keep: &Keep, zone: Tz, database: &str) -> Result<Rotated> {
    let mut rotated = Rotated::default();
    for (backup, decision) in catalogue.plan(keep, zone)? {
        if decision.keep {
            continue;
        }
        match catalogue.prune(&backup, keep, zone) {
            Ok(()) => {
                let why = decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let place = catalogue.place();
                tracing::info!(database, place, backup = backup.name, why, "backup removed");
                rotated.removed.push(backup.name);
            }
            // It came into use, was pinned or verified a moment ago, or another machine removed it: the next run looks
            // again.
            Err(error) if matches!(error.reason, Reason::Locked | Reason::Refused | Reason::NotFound) => {}
            Err(error) => rotated.problems.push(error),
        }
    }
    Ok(rotated)
}
