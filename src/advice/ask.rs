//! Which statements of a database advice is given for, and the reading of what it takes, bounded so
//! that the application does not suffer.

use std::time::{Duration, Instant};

use super::{Advice, Question, judge, read};
use crate::config::{Database, Query};
use crate::error::Result;
use crate::pool::{Call, Pool};
use crate::queries::known::SchemaNames;
use crate::sqlite::look::schema;
use crate::sqlite::write::hold;
use crate::state::slow::Shape;
use crate::terms::JobKind;

/// Time to take samples in.
const SAMPLING: Duration = Duration::from_secs(10);

/// The watched queries, then the slow statements of those jobs that do what an application does:
/// that VACUUM or a check of all pages takes its time calls for no index.
fn questions(watched: &[Query], slow: &[Shape], known: &SchemaNames) -> Vec<Question> {
    let watched = watched.iter().map(|query| Question::watched(query, known));
    let mut questions: Vec<Question> = watched.collect();
    for shape in slow {
        // Known better with its values.
        if !questions.iter().any(|question| question.shape == shape.shape) {
            questions.push(Question::slow(&shape.shape, shape.count));
        }
    }
    questions
}

/// Advice for the watched queries of a database and these slow statements. On a thread that may
/// wait.
pub fn advise(pool: &Pool, database: &Database, slow: &[Shape], call: &Call) -> Result<Advice> {
    let is_applications =
        |shape: &&Shape| [JobKind::Watch, JobKind::Cleanup].iter().any(|kind| kind.as_str() == shape.job);
    let slow: Vec<Shape> = slow.iter().filter(is_applications).cloned().collect();
    let watched = &database.watch.queries;
    if watched.is_empty() && slow.is_empty() {
        return Ok(Advice::default());
    }
    let limit = database.maintain.max_block;
    let until = Instant::now() + SAMPLING.min(limit / 2);
    let (material, questions) = pool.run(&call.within(limit), |connection| {
        hold::read_only(connection)?;
        let known = SchemaNames::new(schema::names(connection)?);
        let questions = questions(watched, &slow, &known);
        let material = read(connection, &questions, until)?.with_declared(&database.indexes);
        Ok((material, questions))
    })?;
    judge(&material, &questions)
}
