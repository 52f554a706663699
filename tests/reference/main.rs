//! The pages of docs/reference say what the program says. Each has text written by hand and,
//! between two marks, parts that are made here from the program's own tables.
//! `LITEKEEPER_REWRITE=1 cargo test --test reference` writes the parts into the pages; without it,
//! a page that differs fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod commands;
mod configuration;
mod status;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

/// Asks for the pages to be written.
const REWRITE: &str = "LITEKEEPER_REWRITE";

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(page)
}

fn text(page: &str) -> String {
    let path = path(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Holds the parts of a page to what they must be, each by its name.
fn holds(page: &str, parts: &[(&str, String)]) {
    let old = text(page);
    let mut new = old.clone();
    for (name, part) in parts {
        new = replaced(&new, name, part)
            .unwrap_or_else(|| panic!("docs/reference/{page} has no marks for {name}"));
    }
    assert_eq!(new.matches("<!-- begin ").count(), parts.len(), "{page} has marks for nothing");
    if old == new {
        return;
    }
    if std::env::var_os(REWRITE).is_some() {
        fs::write(path(page), new).unwrap();
        return;
    }
    let line = old.lines().zip(new.lines()).position(|(old, new)| old != new);
    let line = line.unwrap_or_else(|| old.lines().count().min(new.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
    panic!(
        "docs/reference/{page} says other things than the program, from line {} on:\n  page:    {}\n  program: {}\n\
         {REWRITE}=1 cargo test --test reference writes it",
        line + 1,
        at(&old),
        at(&new)
    );
}

/// The text with this part between its marks; `None` where it has none.
fn replaced(text: &str, name: &str, part: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", part.trim_end()))
}

/// A table of Markdown.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let rows = rows.into_iter().map(|row| {
        assert_eq!(row.len(), head.len(), "{row:?}");
        line(&row.into_iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>())
    });
    line(&head) + &line(&rule) + &rows.collect::<String>()
}

/// Words of the program, as code.
fn code(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_part_is_put_between_its_marks_and_what_is_around_it_stays() {
    let page = "by hand\n<!-- begin a -->\nold\n<!-- end a -->\nmore\n";
    let new = replaced(page, "a", "new\n").unwrap();
    assert_eq!(new, "by hand\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nmore\n");
    assert_eq!(replaced(&new, "a", "new\n").unwrap(), new);
    assert_eq!(replaced(page, "b", "new\n"), None);
}
