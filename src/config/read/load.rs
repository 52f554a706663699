//! From the file to a [`Config`], or to everything that is wrong with the file. The order of the
//! steps is here and nothing else.

use std::io::ErrorKind;
use std::path::Path;

use super::file::{self, Findings};
use super::resolve::resolve;
use super::validate::{doubts, validate};
use crate::config::Config;
use crate::config::diagnostic::{Position, Problem, Rejection};

/// Where the configuration lies unless another file is named.
pub const DEFAULT_PATH: &str = "/etc/litekeeper/litekeeper.toml";

impl Config {
    /// Reads the file. A file that cannot be read is rejected like one that is wrong.
    pub fn load(path: &Path) -> Result<Self, Rejection> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|cause| unreadable(&name, &cause))?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, &name),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let problem = Problem {
                    place: Some(Position::new(&text, &(good..good + 1))),
                    message: "this is not UTF-8 text".to_owned(),
                    help: Some("save the file in UTF-8".to_owned()),
                };
                Err(Rejection { file: name, problems: vec![problem] })
            }
        }
    }

    /// Reads a text; `name` stands for it in messages.
    pub fn parse(text: &str, name: &str) -> Result<Self, Rejection> {
        let findings = Findings::new(text);
        let config = file::parse(&findings).map(|document| {
            let mut config = resolve(&document, &findings);
            validate(&config, &findings);
            config.warnings.extend(doubts(&config));
            config
        });
        match (findings.rejected(name), config) {
            (None, Some(config)) => Ok(config),
            // `file::parse` withholds the document only where it noted why: there always is a
            // rejection.
            (rejected, _) => {
                Err(rejected.unwrap_or(Rejection { file: name.to_owned(), problems: Vec::new() }))
            }
        }
    }
}

fn unreadable(name: &str, cause: &std::io::Error) -> Rejection {
    let (message, help) = match cause.kind() {
        ErrorKind::NotFound => (
            "there is no such file".to_owned(),
            format!(
                "litekeeper reads {DEFAULT_PATH} unless --config or LITEKEEPER_CONFIG names another file"
            ),
        ),
        ErrorKind::PermissionDenied => (
            "permission to read this file is denied".to_owned(),
            "run litekeeper as a user that may read it, or change its owner, group or mode".to_owned(),
        ),
        ErrorKind::IsADirectory => {
            ("this is a directory".to_owned(), "name the file itself, usually litekeeper.toml".to_owned())
        }
        _ => (format!("this file cannot be read: {cause}"), "name another file with --config".to_owned()),
    };
    Rejection { file: name.to_owned(), problems: vec![Problem { place: None, message, help: Some(help) }] }
}

/// Every key that a file may have, by its full name: `pool.size`, `database.NAME.path`,
/// `database.NAME.cleanup.rule.keep`, `database.NAME.watch.QUERY.sql`. For tests of what is
/// documented.
pub fn keys() -> Vec<String> {
    let text = "database.NAME = { watch.QUERY = {}, cleanup.rule = [{}], index = [{}], backup.copy = [{}] }";
    let findings = Findings::new(text);
    if let Some(document) = file::parse(&findings) {
        resolve(&document, &findings);
    }
    let all = findings.into_keys();
    let is_table = |key: &String| all.iter().any(|other| other.starts_with(&format!("{key}.")));
    all.iter().filter(|key| !is_table(key)).cloned().collect()
}
