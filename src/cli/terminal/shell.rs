//! What people type after us: paths as a shell reads them.

use std::path::Path;

/// A path as a shell reads it.
pub(in crate::cli) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_commands_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/srv/a-b_c.sqlite")), "/srv/a-b_c.sqlite");
        assert_eq!(quoted(Path::new("/srv/it's mine")), r"'/srv/it'\''s mine'");
    }
}
