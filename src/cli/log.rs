//! Where log lines go: to stderr, as text or as JSON, or to the journal where stderr is that; never
//! to stdout.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt, registry};

use super::global::Global;
use super::journal::{self, JournalEvents};
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
    let layer = match (format, journal::is_stderr()) {
        (LogFormat::Json, true) => {
            let events = JournalEvents::new(fmt::format().json().flatten_event(true));
            fmt::layer()
                .fmt_fields(JsonFields::new())
                .event_format(events)
                .with_writer(std::io::stderr)
                .boxed()
        }
        (LogFormat::Json, false) => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed()
        }
        // The journal has the time already.
        (LogFormat::Text, true) => {
            let events = fmt::format().without_time().with_ansi(false).with_target(false);
            let layer = fmt::layer().with_ansi(false).event_format(JournalEvents::new(events));
            layer.with_writer(std::io::stderr).boxed()
        }
        (LogFormat::Text, false) => fmt::layer()
            .with_timer(ChronoUtc::new(String::from("%Y-%m-%dT%H:%M:%S%.3fZ")))
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let _ = registry().with(layer.with_filter(filter)).try_init();
    if journal::is_stderr() {
        // The usual words on stderr would be a notice like any other.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
}
