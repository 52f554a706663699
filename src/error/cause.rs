//! What SQLite tells of an error in its text alone. That is read here, where the error is made, and
//! nowhere else. Must never take for harmless what it does not know.

use serde::{Deserialize, Serialize};

/// What SQLite reports as `SQLITE_ERROR` like any other mistake in a statement, or of a schema as
/// `SQLITE_CORRUPT` like any damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A collation of this name, which only the application has.
    NoSuchCollation(String),
    /// A function of this name, which only the application has.
    NoSuchFunction(String),
    /// Something else that only the application has: a module, a tokenizer.
    Lacking,
    /// A part of the schema that its application reads and that is refused here, because nothing in
    /// the file is trusted, the file is not attached under another name, or the application has a
    /// function of its own under the name of one of SQLite's: that function, where it is one.
    RefusedSchema(Option<String>),
    /// A table, view, index or trigger that is not there.
    NoSuchObject,
    /// A column that is not there.
    NoSuchColumn,
    /// A foreign key whose parent columns are neither a primary key nor unique.
    ForeignKeyMismatch,
}

/// How SQLite begins what it says of a part of a schema that it cannot read.
const SCHEMA: &str = "malformed database schema (";

/// What it says of a function that is there and may not be used so: in texts that the application
/// wrote, its own one is meant, or one that is not trusted here.
const FUNCTIONS: [&str; 4] = [
    "unsafe use of ",
    "wrong number of arguments to function ",
    "misuse of aggregate function ",
    "misuse of window function ",
];

impl Cause {
    pub(super) fn of(text: &str) -> Option<Self> {
        if let Some((_, why)) = schema(text) {
            return Self::of_schema(why);
        }
        if let Some(name) = text.strip_prefix("no such collation sequence: ") {
            return Some(Self::NoSuchCollation(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("no such function: ") {
            return Some(Self::NoSuchFunction(name.to_owned()));
        }
        // One in an index, a CHECK or a generated column.
        if let Some(name) = text.strip_prefix("unknown function: ") {
            return Some(Self::NoSuchFunction(called(name)));
        }
        let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
        let lacking = ["no such function", "no such module", "no such tokenizer", "unknown tokenizer"];
        if lacking.iter().any(|lack| text.contains(lack)) {
            Some(Self::Lacking)
        } else if begins(&["no such table: ", "no such view: ", "no such index: ", "no such trigger: "]) {
            Some(Self::NoSuchObject)
        } else if text.starts_with("no such column: ") {
            Some(Self::NoSuchColumn)
        } else if text.starts_with("foreign key mismatch") {
            Some(Self::ForeignKeyMismatch)
        } else {
            None
        }
    }

    /// Of what SQLite has against the text of a part of a schema; `None` where that may be damage.
    pub(super) fn of_schema(why: &str) -> Option<Self> {
        if let Some(name) = FUNCTIONS.iter().find_map(|start| why.strip_prefix(start)) {
            return Some(Self::RefusedSchema(Some(called(name))));
        }
        let is_known = why == "cannot create triggers on shadow tables"
            || why.contains(" cannot reference objects in database ")
            || why.starts_with("non-deterministic functions prohibited in ")
            || why.starts_with("too many columns on ")
            || why.starts_with("Expression tree is too large ");
        is_known.then_some(Self::RefusedSchema(None))
    }

    pub(super) const fn is_of_the_application(&self) -> bool {
        matches!(
            self,
            Self::NoSuchCollation(_) | Self::NoSuchFunction(_) | Self::Lacking | Self::RefusedSchema(_)
        )
    }
}

/// The part of the schema that a text is about, and what SQLite has against it.
pub(super) fn schema(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(SCHEMA)?.split_once(") - ")
}

/// `name()` without what shows that it is a function.
fn called(name: &str) -> String {
    name.strip_suffix("()").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_here_is_told_from_damage() {
        let refused = |why: &str| Cause::of(&format!("{SCHEMA}x) - {why}"));
        for (why, function) in [
            ("cannot create triggers on shadow tables", None),
            ("view titles cannot reference objects in database urn:set", None),
            ("unsafe use of load_extension()", Some("load_extension")),
            ("wrong number of arguments to function concat_ws()", Some("concat_ws")),
            ("misuse of aggregate function string_agg()", Some("string_agg")),
        ] {
            assert_eq!(refused(why), Some(Cause::RefusedSchema(function.map(str::to_owned))), "{why}");
        }
        for why in ["invalid rootpage", "near \"x\": syntax error", "no such table: main.t", "orphan index"] {
            assert_eq!(refused(why), None, "{why}");
        }
        assert_eq!(Cause::of("wrong number of arguments to function f()"), None, "of a statement of ours");
    }
}
