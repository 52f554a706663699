//! Names as SQL takes them, whatever is in them.

/// A name quoted for SQL: `a"b` becomes `"a""b"`.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
