//! Text for a terminal, line by line, in the width that it has; for a pipe, where there is none,
//! unbroken. Nothing that a terminal would obey gets onto it but its own colours.

use super::lines::{broken, count, plain};
use super::table::TextTable;
use super::tone::Tone;

/// What a verb prints.
pub(in crate::cli) struct Page {
    text: String,
    width: Option<usize>,
    has_colour: bool,
}

impl Page {
    /// An empty one.
    pub(in crate::cli) fn new(width: Option<usize>) -> Self {
        Self { text: String::new(), width, has_colour: false }
    }

    /// One with colours.
    pub(super) fn coloured(width: Option<usize>) -> Self {
        Self { has_colour: true, ..Self::new(width) }
    }

    /// Adds a line, or several, as they are.
    pub(in crate::cli) fn line(&mut self, line: impl AsRef<str>) {
        self.as_it_is(&plain(line.as_ref()));
    }

    fn as_it_is(&mut self, line: &str) {
        self.text.push_str(line);
        if !line.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Adds `lead` and a text beside it, broken between words.
    pub(in crate::cli) fn beside(&mut self, lead: &str, text: &str) {
        self.beside_in(None, lead, text);
    }

    /// The same with a lead that says how it is.
    pub(in crate::cli) fn beside_in(&mut self, tone: impl Into<Option<Tone>>, lead: &str, text: &str) {
        let (lead, text) = (plain(lead), plain(text));
        let indent = count(&lead);
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(indent));
        let mut before = match tone.into().filter(|_| self.has_colour) {
            Some(tone) => tone.paint(&lead),
            None => lead.into_owned(),
        };
        for line in broken(&text, room) {
            self.as_it_is((before + &line).trim_end());
            before = " ".repeat(indent);
        }
    }

    /// Adds a text, broken between words.
    pub(in crate::cli) fn paragraph(&mut self, text: &str) {
        self.beside("", text);
    }

    /// Adds a table after `indent` spaces.
    pub(in crate::cli) fn table(&mut self, indent: usize, table: &TextTable) {
        let text = table.render(indent, self.width, self.has_colour);
        self.as_it_is(&text);
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
