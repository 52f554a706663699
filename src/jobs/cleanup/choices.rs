//! What an operator can do about rows that stand in the way of a rule: for each way of `children`,
//! which rows it would change or remove. Counts; must never propose "cascade" but where the schema
//! itself says so (HAZARDS H33).

use super::count::Count;
use super::graph::children::Graph;
use super::graph::links::Action;
use super::plan::Plan;
use super::rows::rows_of;
use crate::config::{Children, Rule};
use crate::error::{Class, Error, Reason, Result};
use crate::jobs::reading::Reader;
use crate::words;

/// What a rule would do with another `children`.
struct Choice {
    graph: Graph,
    count: Count,
}

/// The refusal of a rule of which `count` found rows that stand in the way. Errors: the run must
/// stop.
pub(super) fn refusal(reader: &Reader<'_>, rule: &Rule, plan: &Plan, count: &Count) -> Result<Error> {
    let mut parts = vec![plan.graph.in_words(&count.blockers)];
    parts.extend(plan.graph.obstacles(&count.blockers).map(str::to_owned));
    let mut proposed = false;
    for children in [Children::Unlink, Children::Cascade] {
        if children == rule.children {
            continue;
        }
        let choice = match Choice::look(reader, plan, children) {
            Ok(choice) => choice,
            Err(error) if error.class() == Class::Cancelled => return Err(error),
            // The figures are help, and the refusal is what counts.
            Err(_) => continue,
        };
        let (text, is_proposal) = match children {
            Children::Cascade => choice.cascade(),
            _ => choice.unlink(),
        };
        parts.extend(text);
        proposed |= is_proposal;
    }
    if !proposed {
        parts.push(String::from("let the application remove or change those rows first"));
    }
    Ok(Error::new(Reason::Refused, parts.join("; ")))
}

impl Choice {
    fn look(reader: &Reader<'_>, plan: &Plan, children: Children) -> Result<Self> {
        let graph = reader.read(|c| Graph::of(c, &plan.table, children))?;
        let count = Count::of(reader, plan, &graph)?;
        Ok(Self { graph, count })
    }

    /// What "unlink" would do, and whether it can be proposed.
    fn unlink(&self) -> (Option<String>, bool) {
        if !self.count.blockers.is_empty() {
            return (Some(format!("they cannot be unlinked, as {}", self.obstacles())), false);
        }
        let changed = self.count.tally.iter().filter(|(_, touched)| touched.changed > 0);
        let changed: Vec<_> = changed.map(|(table, touched)| rows_of(touched.changed, table)).collect();
        let changed = changed.join(" and ");
        (
            Some(format!(
                "with children = \"unlink\" in the rule they stay, and their key becomes NULL: {changed}"
            )),
            true,
        )
    }

    /// What "cascade" would do, and whether it can be proposed.
    fn cascade(&self) -> (Option<String>, bool) {
        let Count { blockers, tally, tables, .. } = &self.count;
        let own = &self.graph.tables[0].name;
        let gone: Vec<_> = tally
            .iter()
            .filter(|(table, touched)| touched.removed > 0 && *table != own)
            .map(|(table, touched)| match tables.get(table) {
                Some(all) => format!("{} of {}", words::count(touched.removed), rows_of(*all, table)),
                None => rows_of(touched.removed, table),
            })
            .collect();
        let gone = gone.join(" and ");
        let kept = blockers.iter().filter(|(edge, _)| self.graph.edges[**edge].child == 0);
        let kept: u64 = kept.map(|(_, rows)| rows).sum();
        if kept > 0 {
            let with = if gone.is_empty() { String::new() } else { format!("{gone}, and ") };
            let kept = rows_of(kept, own);
            let text = format!(
                "to remove them as well would take {with}{kept} within retention with all that hangs on them, which a \
                 rule never does"
            );
            return (Some(text), false);
        }
        if !blockers.is_empty() {
            return (Some(format!("they cannot be removed either, as {}", self.obstacles())), false);
        }
        // Where nothing would go, the schema unlinks by itself.
        if gone.is_empty() {
            return (None, false);
        }
        if self.is_declared() {
            let text = "with children = \"cascade\" they go as well, as the schema says ON DELETE CASCADE";
            return (Some(format!("{text}: {gone}")), true);
        }
        let text = format!("to remove them as well would take {gone}, which the schema does not ask for");
        (Some(text), false)
    }

    /// Whether the schema itself would remove all that "cascade" would.
    fn is_declared(&self) -> bool {
        let mut deleting = self.graph.edges.iter().filter(|edge| edge.action == Action::Delete);
        deleting.all(|edge| edge.cascades || self.count.removed(&self.graph.tables[edge.child].name) == 0)
    }

    fn obstacles(&self) -> String {
        self.graph.obstacles(&self.count.blockers).collect::<Vec<_>>().join(" and ")
    }
}
