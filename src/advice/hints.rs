//! Advice on the text of a query: said only where the plan of the other text shows the gain.

use serde::Serialize;

use super::bench::{Bench, Outcome};
use super::conditions::Text;
use super::cost::Access;
use super::figures::QuestionColumns;
use super::index::{NewIndex, NewKey};
use super::question::Question;
use super::rewrite::{self, Rewrite, Subject};
use super::search::LEAST_GAIN;
use crate::error::Result;
use crate::queries::plans::Plan;
use crate::sql::fingerprint;

/// A text costs writers nothing: less gain is needed than for an index.
const LEAST_GAIN_OF_TEXT: f64 = 2.0;

/// Fewer rows taken from a table are not worth a word.
const MANY_ROWS: f64 = 100.0;

/// Advice on one query's text.
#[derive(Debug, Clone, Serialize)]
pub struct Hint {
    /// What it is about.
    pub subject: Subject,
    /// Name of the watched query; `None`: a slow statement.
    pub query: Option<String>,
    /// The statement without literals.
    pub shape: String,
    /// What is the matter, and what to do.
    pub text: String,
    /// The other text without literals, where that says more.
    pub rewritten: Option<String>,
    /// Indexes that the other text needs and that are not there.
    pub indexes: Vec<String>,
    /// The plan now.
    pub before: Plan,
    /// The plan of the other text.
    pub after: Plan,
    /// How many times cheaper it becomes, by a rough estimate; `None`: it takes as many
    /// instructions, but reads less.
    pub gain: Option<f64>,
}

/// All that can be said of a query's text. `chosen` are the indexes that are proposed.
pub(super) fn hints(bench: &mut Bench<'_>, question: &Question, chosen: &[NewIndex]) -> Result<Vec<Hint>> {
    let before = bench.outcome(question, &[])?;
    let mut rewrites = rewrite::all(question);
    rewrites.extend(casts(bench, question));
    let mut hints = Vec::new();
    for rewrite in &rewrites {
        hints.extend(hint(bench, question, &before, rewrite, chosen)?);
    }
    hints.extend(covering(bench, question, &before));
    Ok(hints)
}

fn hint(
    bench: &mut Bench<'_>,
    question: &Question,
    before: &Outcome,
    rewrite: &Rewrite,
    chosen: &[NewIndex],
) -> Result<Option<Hint>> {
    let index = index_for(bench, rewrite);
    if rewrite.needs_text
        && index.as_ref().is_none_or(|index| !bench.figures.holds_text(&index.table, &index.keys[0]))
    {
        return Ok(None);
    }
    if let (Some(index), Some(expression)) = (&index, &rewrite.expression)
        && bench.schema.has_index_on(&index.table, expression)
    {
        return Ok(None);
    }
    let least = match rewrite.subject {
        Subject::Wildcard | Subject::Like => LEAST_GAIN,
        _ => LEAST_GAIN_OF_TEXT,
    };
    // First as the database is, then with what is proposed, at last with an index of its own.
    let mut tries = vec![Vec::new(), chosen.to_vec()];
    tries.extend(index.map(|index| [chosen.to_vec(), vec![index]].concat()));
    for indexes in tries {
        let Ok(after) = bench.outcome(&rewrite.question, &indexes) else { continue };
        let as_it_is = bench.outcome(question, &indexes)?.cost;
        // What the indexes do for the text as it is, they do not need this for; but for a pattern,
        // no text does it.
        let gain = before.cost.min(as_it_is) / after.cost;
        let gain = if rewrite.subject == Subject::Function { before.cost / after.cost } else { gain };
        if gain < least || !shows(rewrite, &after) {
            continue;
        }
        let used: Vec<NewIndex> = after.used.iter().cloned().collect();
        let names = bench.names();
        return Ok(Some(Hint {
            subject: rewrite.subject,
            query: question.name.clone(),
            shape: question.shape.clone(),
            text: rewrite.why.clone(),
            rewritten: rewrite.is_shown.then(|| fingerprint::shape(&rewrite.question.sql)),
            indexes: used.iter().filter_map(|index| Some(index.sql(names.get(index)?))).collect(),
            before: Plan::new(&before.steps),
            after: bench.shown(&after.steps),
            gain: Some(gain),
        }));
    }
    Ok(None)
}

/// Whether the plan shows what is said: rows are searched that were not.
fn shows(rewrite: &Rewrite, after: &Outcome) -> bool {
    let mut accesses = after.steps.iter().filter_map(|step| Access::of(&step.detail));
    match rewrite.subject {
        Subject::Offset => accesses.any(|access| access.sides > 0),
        _ => accesses.any(|access| access.is_search),
    }
}

/// The index that the other text would need, on the table that it means.
fn index_for(bench: &Bench<'_>, rewrite: &Rewrite) -> Option<NewIndex> {
    let (of, column) = rewrite.column.as_ref()?;
    let known = QuestionColumns::new(&rewrite.question, bench.schema);
    let table = if let Some(of) = of {
        known.table(of).to_owned()
    } else {
        let columns = bench.twin.reads(&rewrite.question).ok()?;
        columns.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(column))?.0
    };
    Some(NewIndex::on(&table, NewKey { nocase: rewrite.nocase, ..NewKey::column(column) }))
}

/// Columns of text that are compared with columns of numbers.
fn casts(bench: &Bench<'_>, question: &Question) -> Vec<Rewrite> {
    let text = Text::new(&question.sql);
    let known = QuestionColumns::new(question, bench.schema);
    let is_text = |of: &str, column: &str| bench.is_text(known.table(of), column);
    let mut casts = Vec::new();
    for [left, right] in rewrite::joined(&text) {
        for (one, other) in [(&left, &right), (&right, &left)] {
            if is_text(one.1, &one.2) == Some(true) && is_text(other.1, &other.2) == Some(false) {
                casts.push(rewrite::cast(question, &text, other.0, one.1, &one.2));
            }
        }
    }
    casts
}

/// Where many rows are taken from the table only because all columns are asked for.
fn covering(bench: &mut Bench<'_>, question: &Question, before: &Outcome) -> Option<Hint> {
    let [only] = &before.steps[..] else { return None };
    let access = Access::of(&only.detail)?;
    let columns = access.index.filter(|_| access.is_search && !access.is_covering());
    let columns = columns.and_then(|index| bench.columns_of(index)).filter(|columns| columns.len() > 1);
    let rewrite = columns.and_then(|columns| rewrite::naming(question, &columns))?;
    // Of the cost of such a query, each row has its part.
    if before.cost < MANY_ROWS * 10.0 {
        return None;
    }
    let after = bench.outcome(&rewrite.question, &[]).ok()?;
    let is_shown = after
        .steps
        .iter()
        .any(|step| Access::of(&step.detail).is_some_and(|a| a.is_covering() && a.is_search));
    is_shown.then(|| Hint {
        subject: rewrite.subject,
        query: question.name.clone(),
        shape: question.shape.clone(),
        text: rewrite.why.clone(),
        rewritten: Some(fingerprint::shape(&rewrite.question.sql)),
        indexes: Vec::new(),
        before: Plan::new(&before.steps),
        after: Plan::new(&after.steps),
        gain: None,
    })
}
