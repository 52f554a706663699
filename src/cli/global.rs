//! What every verb gets: what stands before the verb on the command line, the configuration, a
//! runtime.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, Database};
use crate::error::{Error, Reason, Result};

/// What every verb gets.
pub(super) struct Global {
    pub(super) config: PathBuf,
    pub(super) json: bool,
    pub(super) log_level: Option<tracing::Level>,
}

impl Global {
    pub(super) fn load(&self) -> Result<Config> {
        Ok(Config::load(&self.config)?)
    }
}

/// A runtime for verbs that work asynchronously. It ends with the verb, and so after everything
/// that needs it.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("cannot start the asynchronous runtime", &e))?;
    let result = runtime.block_on(work);
    // Dropped, it would wait for ever for a thread that hangs in a disk and that everybody gave up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// The database that the user names.
pub(super) fn database<'a>(config: &'a Config, name: &str) -> Result<&'a Arc<Database>> {
    config.databases.get(name).ok_or_else(|| unknown_database(name, config))
}

fn unknown_database(name: &str, config: &Config) -> Error {
    let names: Vec<_> = config.databases.keys().map(String::as_str).collect();
    let distance = |known: &&str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let nearest = names.iter().copied().min_by_key(distance).filter(|known| distance(known) <= 2);
    let remedy = match (nearest, names.is_empty()) {
        (Some(known), _) => format!("did you mean {known}?"),
        (None, true) => String::from("it has none"),
        (None, false) => format!("it has: {}", names.join(", ")),
    };
    Error::new(Reason::NotFound, format!("the configuration has no database {name}; {remedy}"))
}
