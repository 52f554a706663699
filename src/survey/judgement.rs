//! The look at the environment with the rights that count: the daemon's. Where a unit runs it, root
//! has the unit's user look, in the unit's sandbox; whoever cannot is told whose rights were judged.

use std::path::Path;

use super::environment::{self, Look, LookResult};
use super::unit;
use crate::config::Config;
use crate::rights;

/// What was looked at, and as whom.
pub struct Judgement {
    /// The user whose rights were judged, by name.
    pub user: String,
    /// The unit within whose sandbox; `None` for none.
    pub unit: Option<String>,
    /// What was found.
    pub looks: Vec<Look>,
}

/// Looks at all that the configuration, read from `path`, names.
pub fn judge(config: &Config, path: &Path) -> Judgement {
    let mut judgement = with_the_rights_that_count(config, path);
    judgement.looks.extend(environment::applications(config));
    judgement
}

/// The look of a process that was started with the rights of a unit: no more than they decide.
pub fn for_unit(config: &Config, path: &Path, unit: &str) -> Judgement {
    rights::unit::stand_for(unit);
    Judgement { user: rights::us(), unit: Some(unit.to_owned()), looks: environment::look(config, path) }
}

fn with_the_rights_that_count(config: &Config, path: &Path) -> Judgement {
    let unit = match unit::of(path) {
        Ok(unit) => unit,
        Err(why) => {
            let text = format!(
                "judged with the rights of user {}; whether a systemd unit runs the daemon with other rights could not be \
                 asked: {why}",
                rights::us()
            );
            let first = Look { about: String::from("daemon"), result: LookResult::Warning, text };
            return ours(config, path, first);
        }
    };
    let Some(unit) = unit else {
        let text = format!(
            "judged with the rights of user {}; no systemd unit runs the daemon with this configuration",
            rights::us()
        );
        let first = Look { about: String::from("daemon"), result: LookResult::Ok, text };
        return ours(config, path, first);
    };
    if rights::unit::own().as_ref() == Some(&unit.name) {
        let text = format!("judged as user {}, within the sandbox of {}", rights::us(), unit.name);
        let judgement = ours(config, path, unit.found(LookResult::Ok, text));
        return Judgement { unit: Some(unit.name), ..judgement };
    }
    let why = if rustix::process::geteuid().is_root() {
        match unit.look(config, path) {
            Ok(found) => {
                let text = format!("judged as user {}, within the sandbox of {}", unit.user, unit.name);
                let first = unit.found(LookResult::Ok, text);
                let looks = std::iter::once(first).chain(found).collect();
                return Judgement { user: unit.user, unit: Some(unit.name), looks };
            }
            Err(why) => format!("what it may could not be looked at: {why}"),
        }
    } else {
        let command = crate::commands::litekeeper("check --environment");
        format!("only root can look with its rights: sudo {command}")
    };
    let text = format!(
        "{} runs the daemon as user {} in a sandbox of its own; what follows is judged with the rights of user {}, \
         outside it; {why}",
        unit.name,
        unit.user,
        rights::us()
    );
    ours(config, path, unit.found(LookResult::Warning, text))
}

fn ours(config: &Config, path: &Path, first: Look) -> Judgement {
    let looks = std::iter::once(first).chain(environment::look(config, path)).collect();
    Judgement { user: rights::us(), unit: None, looks }
}
