//! What rotation would do after one more backup, and why. Makes and removes nothing.

use std::sync::Arc;

use serde::Serialize;

use super::doubts::Doubts;
use crate::error::{Reason, Result};
use crate::jobs::{Context, Job, Report, Running, blocking};
use crate::store::{self, Catalogue};
use crate::terms::JobKind;
use crate::words;

/// The job.
pub struct Preview;

#[derive(Debug, Serialize)]
struct Detail {
    dry_run: bool,
    backups: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    rotation: &'static str,
    why: String,
}

impl Job for Preview {
    fn kind(&self) -> JobKind {
        JobKind::Backup
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn is_preview(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(run(context))
    }
}

async fn run(context: &Context) -> Result<Report> {
    let spared = Doubts::recall(context).await?.in_words();
    let (database, zone, now) = (Arc::clone(&context.database), context.zone, context.started);
    let backups = blocking(move || {
        let (name, backup) = (&database.name, &database.backup);
        let decisions = match store::open(&backup.dir, name) {
            Ok(store) => {
                Catalogue::new(name, store).plan_after(now, backup.compression, &backup.keep, zone)?
            }
            // The first backup makes the directory.
            Err(error) if error.reason == Reason::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(decisions
            .into_iter()
            .enumerate()
            .map(|(n, decision)| Line {
                rotation: match (n == 0, decision.keep || spared.is_some()) {
                    (true, _) => "makes it",
                    (false, true) => "keeps it",
                    (false, false) => "removes it",
                },
                name: decision.name.split('.').next().unwrap_or_default().to_owned(),
                why: match &spared {
                    Some(why) if !decision.keep => why.clone(),
                    _ => decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                },
            })
            .collect::<Vec<_>>())
    })
    .await?;
    let count = |rotation| backups.iter().filter(|line| line.rotation == rotation).count() as u64;
    let summary = format!(
        "a dry run: nothing was made or removed. A backup now would keep {} and remove {}",
        words::plural(count("keeps it"), "older one", "older ones"),
        count("removes it")
    );
    Ok(Report::new(summary, &Detail { dry_run: true, backups }))
}
