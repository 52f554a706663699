//! Colours of words that say how something is, where a terminal shows them. Never the only sign of
//! it: the word itself says the same.

use std::io::{self, IsTerminal as _};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// Well.
    Good,
    /// Wants a look.
    Doubtful,
    /// Failed or damaged.
    Bad,
    /// The name of what follows.
    Title,
}

impl Tone {
    /// The text in its colour: one of the terminal's own, so that they suit its background.
    pub(super) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "1;31",
            Self::Title => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether stdout shows colours: a terminal that knows them, where nobody has asked for none
/// (no-color.org).
pub(super) fn is_wanted() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}
