//! COMMANDS: what people type after us. A command that is printed can be run as it is printed: it
//! names the configuration where that is not the usual one, and a shell reads its paths as one word
//! each. Must never run one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What `--config` must name; empty where the usual file is meant. Told once, at the start: a
/// message is made far below of who knows how the program was called.
static CONFIGURATION: OnceLock<PathBuf> = OnceLock::new();

/// From now on printed commands name this configuration, which is not the usual one. By its whole
/// path: they may be typed in another directory.
pub fn name_configuration(path: &Path) {
    let _ = CONFIGURATION.set(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
}

/// The configuration that printed commands name.
pub fn configuration() -> Option<&'static Path> {
    CONFIGURATION.get().map(PathBuf::as_path)
}

/// `litekeeper restore app --to PATH` for `restore app --to PATH`.
pub fn litekeeper(arguments: impl std::fmt::Display) -> String {
    match configuration() {
        Some(path) => format!("litekeeper --config {} {arguments}", quoted(path)),
        None => format!("litekeeper {arguments}"),
    }
}

/// A path as a shell reads it.
pub fn quoted(path: &Path) -> String {
    word(&path.display().to_string())
}

/// A text as a shell reads it as one word.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    let is_word = !text.is_empty() && text.chars().all(is_plain);
    if is_word { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Paths as a shell reads them, one behind the other.
pub fn all_quoted<'p>(paths: impl IntoIterator<Item = &'p Path>) -> String {
    paths.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_commands_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/srv/a-b_c.sqlite")), "/srv/a-b_c.sqlite");
        assert_eq!(quoted(Path::new("/srv/it's mine")), r"'/srv/it'\''s mine'");
        assert_eq!(word(""), "''");
    }
}
