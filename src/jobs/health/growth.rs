//! Samples the sizes of a database, and says how fast it grows and when its disk will be full.

use std::path::Path;

use crate::error::Result;
use crate::jobs::Run;
use crate::sqlite::files::paths::resolved;
use crate::sqlite::files::space::disk_free;
use crate::sqlite::look::facts::Facts;
use crate::state::facts::{self, SIZES, TRENDS};
use crate::state::trends::{self, Measure, Size};
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
pub(super) fn keep(run: &Run, file: &Facts, trees: &Trees) -> Result<String> {
    let (name, at) = (run.database.name.as_str(), run.started);
    let of_file = |kind, bytes| Size { kind, name: String::new(), bytes };
    let of_files = [of_file(Measure::File, file.bytes()), of_file(Measure::Free, file.free_bytes())];
    let trends = run.state.now(|connection| {
        let mut sizes = of_files.to_vec();
        match trees {
            Trees::Measured(trees) => {
                facts::remember(connection, name, SIZES, trees)?;
                sizes.extend_from_slice(trees);
            }
            Trees::AsBefore { has_changed: false } => sizes.extend(facts::recall(connection, name, SIZES)?),
            Trees::AsBefore { has_changed: true } => {}
        }
        trends::record(connection, name, at, &sizes)?;
        let trends = trends::of(connection, name, at)?;
        facts::remember(connection, name, TRENDS, &trends)?;
        Ok(trends)
    })?;
    let Some(all_of_it) = trends.iter().find(|trend| trend.kind == Measure::Content) else {
        return Ok(String::new());
    };
    let path = resolved(&run.database.path);
    let free = disk_free(path.parent().unwrap_or(Path::new("/"))).ok();
    let full = free.and_then(|free| all_of_it.seconds_until(free.saturating_add(file.free_bytes())));
    let full = full.map(|seconds| format!("; at that rate its disk is full in {}", words::duration(seconds)));
    Ok(format!("{}{}", all_of_it.in_words(), full.unwrap_or_default()))
}
