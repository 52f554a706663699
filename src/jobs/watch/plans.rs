//! The plans of the watched queries, compared with those of the last time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::timing::QueryTiming;
use crate::error::Result;
use crate::jobs::Run;
use crate::metrics::events::PlanChanged;
use crate::queries::plans::Plan;
use crate::state::facts::{PLANS, WatchedPlan};

/// Says of each query whether its plan is another one, and keeps the plans. One whose text was
/// changed, and one that failed this time, has nothing to be compared with.
pub(super) fn compare(run: &Run, seen: &mut [QueryTiming]) -> Result<()> {
    let database = &run.database.name;
    let hashes: BTreeMap<&str, String> =
        run.database.watch.queries.iter().map(|q| (q.name.as_str(), hash(&q.sql))).collect();
    let now: BTreeMap<String, WatchedPlan> = seen
        .iter()
        .map(|one| {
            let query = hashes.get(one.query.as_str()).cloned().unwrap_or_default();
            (one.query.clone(), WatchedPlan { query, plan: one.plan.lines.clone() })
        })
        .collect();
    let before = exchange(run, &now, |name| hashes.contains_key(name))?;
    for one in seen {
        let Some((old, new)) = before.get(&one.query).zip(now.get(&one.query)) else { continue };
        one.plan_changed = old.query == new.query && old.plan != new.plan;
        if one.plan_changed {
            let plan = Plan { lines: old.plan.clone() };
            let scans = one.plan.scans_more_than(&plan);
            let (query, before, after) = (&one.query, &plan.one_line(), &one.plan.one_line());
            PlanChanged { database, query, before, after, scans: &scans.join(", ") }.emit();
            one.scans_new = scans.into_iter().map(str::to_owned).collect();
        }
    }
    Ok(())
}

/// Keeps these plans, and those of queries that failed this time; forgets the rest. Gives what was
/// kept before.
fn exchange(
    run: &Run,
    now: &BTreeMap<String, WatchedPlan>,
    is_configured: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, WatchedPlan>> {
    run.update(PLANS, |all| {
        let before = all.clone();
        all.retain(|name, _| is_configured(name));
        all.extend(now.clone());
        before
    })
}

fn hash(sql: &str) -> String {
    Sha256::digest(sql).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
