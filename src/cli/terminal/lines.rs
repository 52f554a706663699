//! A text broken into lines of a width, what it takes of one as it is seen (two columns for a
//! Chinese character, none for an accent that stands by itself), and without what a terminal obeys.

use std::borrow::Cow;

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Stands for what is left out.
const LEFT_OUT: char = '…';

/// Without control characters, but for line ends and tabs.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) {
        Cow::Owned(text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Lines of at most `width` columns where the words allow it, never fewer than one. A path or a
/// command stays in one piece.
pub(super) fn broken(text: &str, width: usize) -> Vec<String> {
    if count(text) <= width {
        return vec![text.to_owned()];
    }
    let options = Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    textwrap::wrap(&words, options).into_iter().map(Cow::into_owned).collect()
}

/// Columns that a text takes.
pub(in crate::cli) fn count(text: &str) -> usize {
    text.width()
}

/// With blanks behind it, so that it takes at least so many columns.
pub(in crate::cli) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(count(text))))
}

/// At most so many columns of a text: what is too much is left out at its end, which says so.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if count(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut room = width.saturating_sub(1);
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if columns > room {
            break;
        }
        room -= columns;
        short.push(c);
    }
    if width > 0 {
        short.push(LEFT_OUT);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_that_are_seen() {
        assert_eq!((count("出席"), count("cafe\u{301}"), count("👩‍👩‍👧"), count("shop")), (4, 4, 2, 4));
        assert_eq!(padded("出席", 6), "出席  ");
        assert_eq!(padded("e\u{301}", 2), "e\u{301} ");
        assert_eq!(padded("出席簿", 4), "出席簿");
    }

    #[test]
    fn a_short_text_has_no_half_of_a_character() {
        assert_eq!(shortened("backup of 出席簿", 14), "backup of 出…");
        assert_eq!(shortened("backup of 出席簿", 16), "backup of 出席簿");
        assert_eq!((shortened("shop", 1), shortened("shop", 0)), ("…".to_owned(), String::new()));
    }

    #[test]
    fn lines_are_as_wide_as_they_are_seen() {
        assert_eq!(broken("出席 出席 出席", 9), ["出席 出席", "出席"]);
        assert_eq!(broken("see /srv/a-b/c d", 6), ["see", "/srv/a-b/c", "d"]);
    }
}
