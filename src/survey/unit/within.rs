//! The look at the environment with a unit's rights: `systemd-run` starts this look once more as the
//! unit's user, in a sandbox with the unit's own settings, and takes down what it says. The unit
//! itself is not touched.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::installed::{Installed, RIGHTS};
use crate::commands;
use crate::config::{Config, Place};
use crate::survey::environment::{Look, LookResult};

/// A disk that does not answer must not keep the look for ever.
const LONGEST: &str = "RuntimeMaxSec=5min";

/// That it finds something is no failure, of which the journal would tell.
const ANSWERS: &str = "SuccessExitStatus=1 78";

/// From this on an exit code is systemd's own: what it could not do before it started the program
/// (systemd.exec(5), "Process exit codes").
const SYSTEMDS_OWN: i32 = 200;
const NAMESPACE: i32 = 226;

/// What `check --environment --json` prints, as far as it is read here.
#[derive(Deserialize)]
struct Answer {
    problems: Vec<Rejected>,
    environment: Option<Vec<Look>>,
}

#[derive(Deserialize)]
struct Rejected {
    message: String,
}

impl Installed {
    /// Looks with the unit's rights at all that the configuration in `path` names.
    ///
    /// Errors: why that could not be done, in words.
    pub fn look(&self, config: &Config, path: &Path) -> Result<Vec<Look>, String> {
        let output = self.run(path)?;
        let code = output.status.code().unwrap_or(-1);
        let Ok(answer) = serde_json::from_slice::<Answer>(&output.stdout) else {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().lines().next_back().unwrap_or_default();
            if (SYSTEMDS_OWN..256).contains(&code) {
                return Ok(vec![self.problem(self.cannot_start(code))]);
            }
            return Err(format!("systemd-run ended with {code}: {said}"));
        };
        let mut looks: Vec<Look> = answer
            .problems
            .into_iter()
            .map(|rejected| self.problem(format!("as user {}: {}", self.user, rejected.message)))
            .collect();
        looks.extend(answer.environment.into_iter().flatten());
        self.grant_what_is_made(config, &mut looks);
        looks.extend(self.is_older().map(|text| self.found(LookResult::Warning, text)));
        Ok(looks)
    }

    /// A look at the unit itself.
    pub fn found(&self, result: LookResult, text: String) -> Look {
        Look { about: self.name.clone(), result, text }
    }

    fn problem(&self, text: String) -> Look {
        self.found(LookResult::Problem, text)
    }

    fn run(&self, path: &Path) -> Result<Output, String> {
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"]);
        command.args(["-p", LONGEST, "-p", ANSWERS]);
        for setting in self.settings() {
            command.args(["-p", &setting]);
        }
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        command.arg("--").arg(&self.program).arg("--config").arg(path);
        command.args(["--json", "check", "--environment", "--for-unit", &self.name]);
        command.stdin(Stdio::null()).output().map_err(|error| format!("systemd-run: {error}"))
    }

    /// The unit's own settings, as systemd-run takes them.
    fn settings(&self) -> Vec<String> {
        let mut settings = Vec::new();
        for key in RIGHTS {
            let Some(value) = self.properties.get(key) else { continue };
            match key {
                // That it is empty is what it says.
                "CapabilityBoundingSet" => settings.push(format!("{key}={value}")),
                _ if value.is_empty() || value.starts_with("[not set]") || value == "[unprintable]" => {}
                // `/etc/x (ignore_errors=yes)`.
                "EnvironmentFiles" => {
                    let (file, rest) = value.split_once(" (").unwrap_or((value, ""));
                    let dash = if rest.contains("=yes") { "-" } else { "" };
                    settings.push(format!("EnvironmentFile={dash}{file}"));
                }
                "LimitNOFILE" => {
                    let soft = self.properties.get("LimitNOFILESoft").unwrap_or(value);
                    settings.push(format!("{key}={soft}:{value}"));
                }
                _ => settings.push(format!("{key}={value}")),
            }
        }
        // Not made by us, who only look: what is there can be written as if systemd had made it.
        settings.extend(self.made().iter().map(|made| format!("ReadWritePaths=-{}", made.display())));
        settings
    }

    /// What lies in a directory that systemd makes as the unit starts needs nobody's care before.
    fn grant_what_is_made(&self, config: &Config, looks: &mut [Look]) {
        let made = self.made();
        let is_made = |directory: &Path| {
            !directory.exists()
                && made.iter().any(|made| directory == made || directory.parent() == Some(made))
        };
        let directories = directories(config);
        for look in looks.iter_mut().filter(|look| look.result == LookResult::Problem) {
            let Some((_, directory)) = directories.iter().find(|(about, _)| *about == look.about) else {
                continue;
            };
            if is_made(directory) {
                look.result = LookResult::Ok;
                look.text = format!(
                    "{} does not exist yet and will be made, for user {}, when {} starts",
                    directory.display(),
                    self.user,
                    self.name
                );
            }
        }
    }

    /// Why systemd starts no process with the unit's settings; it would not start the daemon either.
    fn cannot_start(&self, code: i32) -> String {
        let name = self.name.trim_end_matches(".service");
        let keys = ["ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths"];
        let needed = keys.into_iter().flat_map(|key| self.words(key)).filter(|word| !word.starts_with('-'));
        let missing: Vec<_> = needed
            .map(|word| Path::new(word.split(':').next().unwrap_or(word)))
            .filter(|path| path.has_root() && !path.exists())
            .collect();
        let why = match code {
            NAMESPACE if !missing.is_empty() => format!(
                "its settings name what does not exist: {}; make it, or put a `-` before it in the drop-in",
                commands::all_quoted(missing)
            ),
            NAMESPACE => String::from("its sandbox cannot be made"),
            217 => format!("there is no user {}", self.user),
            216 => String::from("one of its groups does not exist"),
            203 => format!("{} cannot be run", self.program.display()),
            code => format!("systemd ends with {code}"),
        };
        format!("{name} cannot start: {why}; systemctl start {name} and journalctl -u {name} tell more")
    }
}

/// The directories that are looked at, by the key that a look is about.
fn directories(config: &Config) -> Vec<(String, PathBuf)> {
    let mut directories = vec![(String::from("daemon.state_dir"), config.daemon.state_dir.clone())];
    for database in config.databases.values() {
        let mut add = |key: String, place: &Place| {
            let about = format!("database.{}.{key}", database.name);
            directories.extend(place.directory().map(|directory| (about, directory.to_owned())));
        };
        add(String::from("backup.dir"), &database.backup.dir);
        for copy in &database.backup.copies {
            add(format!("backup.copy.{}", copy.name), &copy.dir);
        }
    }
    directories
}
