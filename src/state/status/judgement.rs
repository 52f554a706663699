//! How all of it is, in one word, and everything that is wrong in one list. Judges by the snapshot
//! alone.

use super::Status;
use super::overall::{Overall, Severity, StatusProblem};
use crate::words;

impl Status {
    /// With the judgement on what it holds: `state` and `problems`, the worst first.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let own = |severity, about: &str, text: &str, at| StatusProblem {
            database: None,
            severity,
            about: about.to_owned(),
            text: text.to_owned(),
            at,
        };
        let mut problems: Vec<StatusProblem> =
            self.not_ready.iter().map(|reason| own(Severity::Failure, "daemon", reason, None)).collect();
        if let Some(refused) = self.config.last_reload.as_ref().filter(|reload| !reload.ok) {
            let text = "the last reload was refused, and the configuration before it holds";
            problems.push(own(Severity::Warning, "configuration", text, Some(refused.at)));
        }
        for database in &self.databases {
            problems.extend(database.problems().into_iter().map(|problem| StatusProblem {
                database: Some(database.name.clone()),
                severity: problem.severity,
                about: problem.about,
                text: problem.text,
                at: problem.at,
            }));
        }
        problems.sort_by_key(|problem| problem.severity);
        self.state = match problems.first().map(|problem| problem.severity) {
            // What the run history tells is of the past.
            _ if self.pid.is_none() => Overall::Unknown,
            None => Overall::Ok,
            Some(Severity::Warning) => Overall::Warning,
            Some(Severity::Failure) => Overall::Critical,
        };
        self.problems = problems;
        self
    }

    /// The databases with which something is wrong, by name.
    pub fn in_trouble(&self) -> Vec<&str> {
        let has_problem = |name: &str| self.problems.iter().any(|p| p.database.as_deref() == Some(name));
        self.databases
            .iter()
            .map(|database| database.name.as_str())
            .filter(|name| has_problem(name))
            .collect()
    }

    /// `1 of 3 databases needs attention`; `None` where none does. One database may have many
    /// problems, and one cause: the databases are what an operator has to look at.
    pub fn attention(&self) -> Option<String> {
        let (of, all) = (self.in_trouble().len() as u64, self.databases.len() as u64);
        let need = if of == 1 { "needs" } else { "need" };
        let all = words::plural(all, "database", "databases");
        (of > 0).then(|| format!("{} of {all} {need} attention", words::count(of)))
    }
}
