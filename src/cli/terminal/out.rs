//! What a verb prints. Must never end the process when a reader goes away:
//! `litekeeper history | head` is no error. Nothing that a terminal would obey gets through: names
//! in a database are whatever its application put there.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::Serialize;

use super::lines::plain;
use super::page::Page;
use super::tone;
use crate::error::{Error, Reason, Result};

/// A page for the terminal that stdout is, or for a pipe.
pub(in crate::cli) fn page() -> Page {
    let width = width(&io::stdout());
    if tone::is_wanted() { Page::coloured(width) } else { Page::new(width) }
}

/// Prints a page, with its colours.
pub(in crate::cli) fn print(page: &Page) -> Result<()> {
    write_all(io::stdout().lock(), page.text())
}

/// Prints what was asked for.
pub(in crate::cli) fn text(text: &str) -> Result<()> {
    write(io::stdout().lock(), text)
}

/// Prints what was asked for, as one JSON value.
pub(in crate::cli) fn json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Reason::Io, format!("cannot write JSON: {e}")))?;
    write(io::stdout().lock(), &json)
}

/// Says something about what is going on, on stderr.
pub(in crate::cli) fn say(text: &str) {
    let mut page = Page::new(width(&io::stderr()));
    page.paragraph(text);
    show(page.text());
}

/// The same for lines that are to stay as they are.
pub(in crate::cli) fn show(lines: &str) {
    // There is nowhere left to say that it cannot be said.
    let _ = write(io::stderr().lock(), lines);
}

/// Columns of the terminal that a stream is; `None` where it is none.
pub(super) fn width(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = stream.is_terminal().then(|| terminal_size::terminal_size_of(stream))?;
    // A terminal need not know its size.
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0).or(Some(80))
}

fn write(to: impl Write, text: &str) -> Result<()> {
    let mut text = plain(text).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    write_all(to, &text)
}

fn write_all(mut to: impl Write, text: &str) -> Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("cannot write the output", &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone(ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is_one() {
        assert!(write(Gone(ErrorKind::BrokenPipe), "x").is_ok());
        assert_eq!(write(Gone(ErrorKind::StorageFull), "x").unwrap_err().reason, Reason::NoSpace);
    }

    #[test]
    fn nothing_that_a_terminal_would_obey_gets_through() {
        let mut out = Vec::new();
        write(&mut out, "a\u{1b}[31mb\r\n\tc\u{9b}").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\u{fffd}[31mb\u{fffd}\n\tc\u{fffd}\n");
    }
}
