//! The journal of systemd: each event as one entry with its level, so that `journalctl -p warning`
//! finds what it should, and with the fields DATABASE, JOB and RUN, by which it can be asked for one
//! database or one run. Must lose nothing: what the journal does not take goes to stderr, with the
//! level in front (sd-daemon(3)).

use std::fmt::{self, Write as _};
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where it takes entries (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
const SOCKET: &str = "/run/systemd/journal/socket";

/// Under which name `journalctl` shows a line.
const IDENTIFIER: &str = "litekeeper";

/// Whether stderr goes to the journal: systemd names device and inode of the stream that it has
/// given to a service (systemd.exec(5), `$JOURNAL_STREAM`), and a service may have sent its stderr
/// elsewhere since.
pub(super) fn is_stderr() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stderr| named == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// Lines for stderr, each with the level of an error where they go to the journal.
pub(super) fn as_error(text: &str) -> String {
    if is_stderr() { prefixed(text, priority(Level::ERROR)) } else { text.to_owned() }
}

/// Formats events as something else does, and hands them to the journal.
pub(super) struct JournalEvents<F> {
    inner: F,
    /// `None`: there is none to be had.
    socket: Option<UnixDatagram>,
}

impl<F> JournalEvents<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner, socket: UnixDatagram::unbound().ok() }
    }
}

impl<S, N, F> FormatEvent<S, N> for JournalEvents<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.inner.format_event(ctx, Writer::new(&mut text), event)?;
        let (text, priority) = (text.trim(), priority(*event.metadata().level()));
        let entry = entry(event, text, priority);
        // An entry that is too long for one message (a wrong configuration, shown whole) does not
        // go this way either.
        if self.socket.as_ref().is_some_and(|socket| socket.send_to(&entry, SOCKET).is_ok()) {
            return Ok(());
        }
        writer.write_str(&prefixed(text, priority))?;
        writer.write_char('\n')
    }
}

/// The levels of syslog(3).
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn prefixed(text: &str, priority: u8) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("<{priority}>{line}")).collect();
    lines.join("\n")
}

fn entry(event: &Event<'_>, text: &str, priority: u8) -> Vec<u8> {
    let mut entry = Entry(Vec::with_capacity(text.len() + 128));
    entry.add("MESSAGE", text);
    entry.add("PRIORITY", &priority.to_string());
    entry.add("SYSLOG_IDENTIFIER", IDENTIFIER);
    event.record(&mut entry);
    entry.0
}

/// An entry in the journal's own form.
struct Entry(Vec<u8>);

impl Entry {
    fn add(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = match field.name() {
            "database" => "DATABASE",
            "job" | "task" => "JOB",
            "run" => "RUN",
            "reason" => "REASON",
            _ => return,
        };
        self.add(name, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.record_str(field, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_has_its_length_before_it() {
        let mut entry = Entry(Vec::new());
        entry.add("DATABASE", "app");
        entry.add("MESSAGE", "a\nb");
        assert_eq!(entry.0, b"DATABASE=app\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }

    #[test]
    fn without_a_journal_each_line_has_its_level_in_front() {
        assert_eq!(prefixed("a\nb", 3), "<3>a\n<3>b");
    }
}
