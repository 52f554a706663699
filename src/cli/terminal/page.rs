//! Text for a terminal, line by line, in the width that it has; for a pipe, where there is none,
//! unbroken.

use super::lines::{broken, count};
use super::table::TextTable;

/// What a verb prints.
pub(in crate::cli) struct Page {
    text: String,
    width: Option<usize>,
}

impl Page {
    /// An empty one.
    pub(in crate::cli) fn new(width: Option<usize>) -> Self {
        Self { text: String::new(), width }
    }

    /// Adds a line, or several, as they are.
    pub(in crate::cli) fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        if !line.as_ref().ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Adds `lead` and a text beside it, broken between words.
    pub(in crate::cli) fn beside(&mut self, lead: &str, text: &str) {
        let indent = count(lead);
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(indent));
        let mut lead = lead.to_owned();
        for line in broken(text, room) {
            self.line((lead + &line).trim_end());
            lead = " ".repeat(indent);
        }
    }

    /// Adds a text, broken between words.
    pub(in crate::cli) fn paragraph(&mut self, text: &str) {
        self.beside("", text);
    }

    /// Adds a table after `indent` spaces.
    pub(in crate::cli) fn table(&mut self, indent: usize, table: &TextTable) {
        let text = table.render(indent, self.width);
        self.line(text);
    }

    /// Whether something so wide has room.
    pub(in crate::cli) fn has_room(&self, columns: usize) -> bool {
        self.width.is_none_or(|width| columns <= width)
    }

    /// What is on it.
    pub(in crate::cli) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_beside_its_lead_and_only_between_words() {
        let mut page = Page::new(Some(16));
        page.beside("lead  ", "one two three a-very-long-word");
        assert_eq!(page.text(), "lead  one two\n      three\n      a-very-long-word\n");
        let mut page = Page::new(None);
        page.beside("lead  ", "one two three a-very-long-word");
        assert_eq!(page.text(), "lead  one two three a-very-long-word\n");
    }
}
