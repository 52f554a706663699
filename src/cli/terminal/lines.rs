//! A text broken into lines of a width.

/// Lines of at most `width` characters where the words allow it, never fewer than one.
pub(super) fn broken(text: &str, width: usize) -> Vec<String> {
    if count(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if count(line) + 1 + count(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns that a text takes.
pub(in crate::cli) fn count(text: &str) -> usize {
    text.chars().count()
}
