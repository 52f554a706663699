//! Rotation: what `store::rotation` decides, carried out.

use crate::config::Keep;
use crate::error::{Error, Reason, Result};
use crate::store::{Catalogue, rotation};
use crate::zone::Zone;

/// What rotation did.
#[derive(Debug, Default)]
pub(super) struct RotationReport {
    /// Names of the backups that are gone.
    pub(super) removed: Vec<String>,
    /// Copies of a damaged database that stay.
    pub(super) damaged_copies: usize,
    /// Backups that should be gone and are not.
    pub(super) problems: Vec<Error>,
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// All that is past the policy.
    All,
    /// Only copies of the damaged database that are too many: any other may be the last good one.
    DamagedCopies,
}

/// Removes what is past the policy. One that cannot be removed does not spare the others.
pub(super) fn sweep(
    catalogue: &Catalogue,
    keep: &Keep,
    zone: Zone,
    database: &str,
    may: May,
) -> Result<RotationReport> {
    let mut rotated = RotationReport::default();
    for (backup, decision) in catalogue.plan(keep, zone)? {
        let is_surplus = decision.reasons.contains(&rotation::Reason::EnoughOfDamaged);
        if decision.keep || (may == May::DamagedCopies && !is_surplus) {
            rotated.damaged_copies += usize::from(backup.is_of_damaged_database());
            continue;
        }
        match catalogue.prune(&backup, keep, zone) {
            Ok(()) => {
                let why = decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let place = catalogue.place();
                tracing::info!(database, place, backup = backup.name, why, "backup removed");
                rotated.removed.push(backup.name);
            }
            // It came into use, was pinned or verified a moment ago, or another machine removed it:
            // the next run looks again.
            Err(error) if matches!(error.reason, Reason::Locked | Reason::Refused | Reason::NotFound) => {}
            Err(error) => rotated.problems.push(error),
        }
    }
    Ok(rotated)
}
