//! From the file to a [`Config`], or to everything that is wrong with the file. The order of the
//! steps is here and nothing else.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::file::{self, Findings};
use super::resolve::resolve;
use super::validate::{doubts, validate};
use crate::config::Config;
use crate::config::diagnostic::{Position, Problem, Rejection};

/// Where the configuration lies unless another file is named.
pub const DEFAULT_PATH: &str = "/etc/litekeeper/litekeeper.toml";

impl Config {
    /// Reads the file. A file that cannot be read is rejected like one that is wrong, and so is one
    /// without a database: whoever starts litekeeper, checks a file or has it read again wants
    /// databases kept, and the last one is taken out by a slip sooner than on purpose. The daemon
    /// would go on, and seem well, without making another backup.
    pub fn load(path: &Path) -> Result<Self, Rejection> {
        let name = path.display().to_string();
        let bytes = read(path).map_err(|cause| unreadable(&name, &cause))?;
        if bytes.len() as u64 > LARGEST {
            return Err(rejection(name, "this file has more than 16 MB", "is it the configuration?"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let config = Self::parse(&text, &name)?;
                if config.databases.is_empty() {
                    let help = "name one: a table [database.NAME] with its path; to keep none any more, stop the daemon";
                    return Err(rejection(
                        name,
                        "no database is configured, so nothing would be backed up",
                        help,
                    ));
                }
                Ok(config)
            }
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let problem = Problem {
                    place: Some(Position::new(&text, &(good..good + 1))),
                    message: "this is not UTF-8 text".to_owned(),
                    help: Some("save the file in UTF-8".to_owned()),
                };
                Err(Rejection { file: name, problems: vec![problem], more: 0 })
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
                Err(rejected.unwrap_or(Rejection { file: name.to_owned(), problems: Vec::new(), more: 0 }))
            }
        }
    }
}

/// Ten thousand databases with settings of their own have some megabytes.
const LARGEST: u64 = 16 << 20;

/// The file, or a little more than the most that it may have. Not what never ends, or never begins,
/// for who reads it: a FIFO, a device.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let is_regular = |file: std::fs::Metadata| match file {
        file if file.is_dir() => Err(ErrorKind::IsADirectory.into()),
        file if !file.is_file() => Err(io::Error::other(NOT_REGULAR)),
        _ => Ok(()),
    };
    // Before: to open a device may do something.
    is_regular(std::fs::metadata(path)?)?;
    // It may have been replaced since.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    is_regular(file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const NOT_REGULAR: &str = "it is a FIFO, a socket or a device, and no file";

fn unreadable(name: &str, cause: &io::Error) -> Rejection {
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
    rejection(name.to_owned(), message, help)
}

fn rejection(file: String, message: impl Into<String>, help: impl Into<String>) -> Rejection {
    let problem = Problem { place: None, message: message.into(), help: Some(help.into()) };
    Rejection { file, problems: vec![problem], more: 0 }
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
