//! Where log lines go: to stderr, as text or as JSON, never to stdout.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt, registry};

use super::global::Global;
use super::terminal::progress;
use crate::config::LogFormat;

/// Starts logging for a verb that ends by itself. Without `--log-level` only what a module warns of
/// is logged: how the run went is the verb's own output.
pub(super) fn start_quietly(global: &Global, format: LogFormat) {
    if let Some(level) = global.log_level {
        return start(format, level);
    }
    let filter = Targets::new()
        .with_default(Level::WARN)
        // The facts of metrics::events, as opposed to litekeeper::pool and so on.
        .with_target("litekeeper", None)
        .with_target("litekeeper::", Level::WARN);
    let layer = fmt::layer().without_time().with_ansi(false).with_target(false).with_writer(progress::stderr);
    let _ = registry().with(layer.with_filter(filter)).try_init();
}

/// Starts logging. Once per process; a second call changes nothing.
pub(super) fn start(format: LogFormat, level: Level) {
    // Our own lines; of the libraries only what goes wrong.
    let filter = Targets::new().with_default(Level::WARN).with_target("litekeeper", level);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let layer = match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
        // The journal has the time already.
        LogFormat::Text if under_systemd => fmt::layer()
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_timer(ChronoUtc::new(String::from("%Y-%m-%dT%H:%M:%S%.3fZ")))
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let _ = registry().with(layer.with_filter(filter)).try_init();
}
