//! Samples the sizes of a database, and says how fast it grows and when its disk will be full.

use std::path::Path;

use crate::error::Result;
use crate::jobs::{Context, blocking};
use crate::sqlite::files::facts::{Facts, disk_free, resolved};
use crate::state::facts::{self, SIZES, TRENDS};
use crate::state::trends::{self, Kind, Size};
use crate::words;

/// The sizes of tables and indexes.
pub(super) enum Trees {
    /// These, now.
    Measured(Vec<Size>),
    /// Not measured this time.
    AsBefore {
        /// The file has been written to since they were.
        has_changed: bool,
    },
}

/// Keeps a sample and what follows from all of them; in words.
pub(super) async fn keep(context: &Context, file: &Facts, trees: Trees) -> Result<String> {
    let (database, at) = (context.database.name.clone(), context.started);
    let of_file = |kind, bytes| Size { kind, name: String::new(), bytes };
    let mut sizes = vec![of_file(Kind::File, file.bytes()), of_file(Kind::Free, file.free_bytes())];
    let trends = context
        .state
        .with(move |connection| {
            match trees {
                Trees::Measured(trees) => {
                    facts::remember(connection, &database, SIZES, &trees)?;
                    sizes.extend(trees);
                }
                Trees::AsBefore { has_changed: false } => {
                    let trees = facts::recall::<Vec<Size>>(connection, &database, SIZES)?;
                    sizes.extend(trees.map(|(trees, _)| trees).unwrap_or_default());
                }
                Trees::AsBefore { has_changed: true } => {}
            }
            trends::record(connection, &database, at, &sizes)?;
            let trends = trends::of(connection, &database, at)?;
            facts::remember(connection, &database, TRENDS, &trends)?;
            Ok(trends)
        })
        .await?;
    let Some(all_of_it) = trends.iter().find(|trend| trend.kind == Kind::Content) else {
        return Ok(String::new());
    };
    let path = resolved(&context.database.path);
    let free = blocking(move || disk_free(path.parent().unwrap_or(Path::new("/")))).await.ok();
    let full = free.and_then(|free| all_of_it.seconds_until(free.saturating_add(file.free_bytes())));
    let full = full.map(|seconds| format!("; at that rate its disk is full in {}", words::duration(seconds)));
    Ok(format!("{}{}", all_of_it.in_words(), full.unwrap_or_default()))
}
