//! Rotation: what `store::rotation` decides, carried out; then the backups as they are, remembered for the status.

use chrono_tz::Tz;

use crate::config::Keep;
use crate::error::{Error, Reason, Result};
use crate::jobs::Context;
use crate::state::facts::{self, Backups};
use crate::state::status::BackupStatus;
use crate::store::rotation::{self, Candidate, Decision};
use crate::store::{Backup, Catalogue};

/// What rotation did.
#[derive(Debug)]
pub(super) struct Rotated {
    /// Names of the backups that are gone.
    pub(super) removed: Vec<String>,
    /// Backups that should be gone and are not.
    pub(super) problems: Vec<Error>,
}

/// The backups of a catalogue, newest first, each with what rotation would do to it now.
pub fn plan(catalogue: &Catalogue, keep: &Keep, zone: Tz) -> Result<Vec<(Backup, Decision)>> {
    let backups = catalogue.list()?;
    let candidates = backups
        .iter()
        .map(|backup| Ok(Candidate::new(backup, catalogue.in_use(backup)?)))
        .collect::<Result<Vec<_>>>()?;
    let decisions = rotation::plan(&candidates, keep, zone);
    Ok(backups.into_iter().zip(decisions).collect())
}

/// Removes what is past the policy. One that cannot be removed does not spare the others.
pub(super) async fn rotate(context: &Context, catalogue: Catalogue) -> Result<Rotated> {
    let (keep, zone) = (context.database.backup.keep, context.database.zone);
    let name = context.database.name.clone();
    let (rotated, known) = super::blocking(move || {
        let mut rotated = Rotated { removed: Vec::new(), problems: Vec::new() };
        for (backup, decision) in plan(&catalogue, &keep, zone)? {
            if decision.keep {
                continue;
            }
            match catalogue.remove(&backup) {
                Ok(()) => {
                    let why = decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    tracing::info!(database = name, backup = backup.name, why, "backup removed");
                    rotated.removed.push(backup.name);
                }
                // It came into use, was pinned or verified a moment ago: the next run looks again.
                Err(error) if matches!(error.reason, Reason::Locked | Reason::Refused) => {}
                Err(error) => rotated.problems.push(error),
            }
        }
        Ok((rotated, known(&catalogue)?))
    })
    .await?;
    remember(context, known).await?;
    Ok(rotated)
}

/// The backups as the status shows them.
pub fn known(catalogue: &Catalogue) -> Result<Backups> {
    let good = catalogue.list()?.into_iter().filter(Backup::is_good);
    let manifests: Vec<_> = good.filter_map(|backup| backup.manifest).collect();
    let newest = manifests.iter().max_by_key(|m| m.sequence).map(|m| BackupStatus {
        name: m.file.clone(),
        finished: m.finished,
        raw_bytes: m.raw_bytes,
        stored_bytes: m.stored_bytes,
        verified: m.verification.as_ref().filter(|v| v.ok).map(|v| v.at),
    });
    Ok(Backups { count: manifests.len() as u64, newest })
}

/// Keeps [`known`] for the status and the metrics.
pub async fn remember(context: &Context, known: Backups) -> Result<()> {
    let name = context.database.name.clone();
    context.state.with(move |c| facts::remember(c, &name, facts::BACKUPS, &known)).await
}
