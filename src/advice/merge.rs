//! One set of indexes for all statements: as few as serve them all, each of them worth it.

use super::bench::Bench;
use super::index::NewIndex;
use super::question::Question;
use super::search::LEAST_GAIN;
use crate::error::Result;

/// A statement may become so much dearer, and so many instructions, when one index less is created.
const MAY_LOSE: f64 = 1.5;
const MAY_LOSE_AT_LEAST: f64 = 50.0;

/// The fewest of these indexes that serve as well as all of them.
pub(super) fn merge(
    bench: &mut Bench<'_>,
    questions: &[&Question],
    all: Vec<NewIndex>,
) -> Result<Vec<NewIndex>> {
    let mut kept = all;
    kept.sort();
    kept.dedup();
    let best = costs(bench, questions, &kept)?;
    // Longer ones serve what their beginnings do, so those are tried first.
    kept.sort_by_key(|index| index.keys.len());
    let mut at = 0;
    while at < kept.len() {
        let without: Vec<NewIndex> = kept.iter().filter(|index| **index != kept[at]).cloned().collect();
        if serves(bench, questions, &without, &best)? {
            kept = without;
        } else if let Some(with_other) = in_another_order(bench, questions, &kept, at, &best)? {
            kept = with_other;
            at = 0;
        } else {
            at += 1;
        }
    }
    Ok(kept)
}

/// The same without the index at this place, where another one serves in its stead once its keys
/// are rearranged.
fn in_another_order(
    bench: &mut Bench<'_>,
    questions: &[&Question],
    kept: &[NewIndex],
    at: usize,
    best: &[f64],
) -> Result<Option<Vec<NewIndex>>> {
    let shorter = &kept[at];
    for (place, longer) in kept.iter().enumerate().filter(|(place, _)| *place != at) {
        for order in longer.rearranged().into_iter().filter(|order| shorter.is_prefix_of(order)) {
            let mut all = kept.to_vec();
            all[place] = order;
            all.remove(at);
            if serves(bench, questions, &all, best)? {
                return Ok(Some(all));
            }
        }
    }
    Ok(None)
}

fn serves(
    bench: &mut Bench<'_>,
    questions: &[&Question],
    indexes: &[NewIndex],
    best: &[f64],
) -> Result<bool> {
    let costs = costs(bench, questions, indexes)?;
    let is_as_good = |(cost, best): (&f64, &f64)| *cost <= (best * MAY_LOSE).max(best + MAY_LOSE_AT_LEAST);
    Ok(costs.iter().zip(best).all(is_as_good))
}

fn costs(bench: &mut Bench<'_>, questions: &[&Question], indexes: &[NewIndex]) -> Result<Vec<f64>> {
    questions.iter().map(|question| Ok(bench.outcome(question, indexes)?.cost)).collect()
}

/// Whether a statement is so much cheaper as to be served.
pub(super) fn is_served(before: f64, after: f64) -> bool {
    before / after >= LEAST_GAIN
}
