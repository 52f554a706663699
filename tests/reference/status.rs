//! The value of `status --json` and `/api/status`, out of the types that it is made of: a field,
//! and what its comment says.

use std::fmt::Write as _;

use litekeeper::state::status::Status;

use crate::table;

/// Where those types are. Each is shown that serializes.
const SOURCES: [&str; 3] = [
    include_str!("../../src/state/status/mod.rs"),
    include_str!("../../src/state/status/overall.rs"),
    include_str!("../../src/state/trends.rs"),
];

/// Not values of JSON of their own: `Option<DateTime<Utc>>` is a time, or null.
const PLAIN: [(&str, &str); 14] = [
    ("String", "text"),
    ("DateTime<Utc>", "time"),
    ("bool", "true or false"),
    ("u64", "number"),
    ("u32", "number"),
    ("usize", "number"),
    ("i64", "number"),
    ("f64", "number"),
    ("JobKind", "text: a kind of job"),
    ("Outcome", "text: success, failure, skipped or interrupted"),
    ("Verdict", "text: good, warning, bad or unknown"),
    ("Overall", "text: ok, warning, critical or unknown"),
    ("Severity", "text: failure or warning"),
    ("Measure", "text: file, free, content, table or index"),
];

struct Type {
    name: String,
    about: String,
    /// Name, type and comment.
    fields: Vec<(String, String, String)>,
}

/// The structs of a source that are part of the value.
fn types(source: &str) -> Vec<Type> {
    let mut types: Vec<Type> = Vec::new();
    let (mut comment, mut renamed, mut serializes, mut inside) = (String::new(), None, false, false);
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            let gap = if comment.is_empty() { "" } else { " " };
            comment = comment + gap + text.trim();
        } else if line.starts_with("#[derive(") {
            serializes = line.contains("Serialize") && line.contains("Deserialize");
        } else if let Some(name) = line.strip_prefix("#[serde(rename = \"") {
            renamed = name.split('"').next().map(str::to_owned);
        } else if line.starts_with("#[") {
        } else if let Some(name) = line.strip_prefix("pub struct ").filter(|_| serializes) {
            let name = name.trim_end_matches('{').trim().to_owned();
            types.push(Type { name, about: std::mem::take(&mut comment), fields: Vec::new() });
            inside = true;
        } else if let Some((name, kind)) =
            line.strip_prefix("pub ").filter(|_| inside).and_then(|field| field.split_once(": "))
        {
            let name = renamed.take().unwrap_or_else(|| name.to_owned());
            let kind = kind.trim_end_matches(',').to_owned();
            types.last_mut().unwrap().fields.push((name, kind, std::mem::take(&mut comment)));
        } else {
            inside &= !line.starts_with('}');
            serializes &= inside;
            comment.clear();
        }
    }
    types
}

/// A type of Rust as one of JSON.
fn words(kind: &str) -> String {
    let within = |name: &str| kind.strip_prefix(name).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = within("Option<") {
        return format!("{}, or null", words(inner));
    }
    if let Some(inner) = within("Vec<") {
        return format!("list of: {}", words(inner));
    }
    match PLAIN.iter().find(|(name, _)| *name == kind) {
        Some((_, words)) => (*words).to_owned(),
        None => format!("[{kind}](#{})", kind.to_lowercase()),
    }
}

/// A comment as it reads on a page of JSON.
fn text(comment: &str) -> String {
    // Links of the code lead nowhere here.
    comment.replace("[`", "`").replace("`]", "`").replace("`None`", "null")
}

/// Each type, from the whole value on.
pub(crate) fn status() -> String {
    let all: Vec<Type> = SOURCES.into_iter().flat_map(types).collect();
    // The order in which they are met, so that none is left out and none is shown that is no part
    // of it.
    let mut order = vec![std::any::type_name::<Status>().rsplit("::").next().unwrap().to_owned()];
    let mut page = String::new();
    let mut next = 0;
    while let Some(name) = order.get(next).cloned() {
        next += 1;
        let it = all.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name} is not found"));
        let rows = it.fields.iter().map(|(field, kind, comment)| {
            assert!(!comment.is_empty(), "{name}.{field} has no comment");
            vec![format!("`{field}`"), words(kind), text(comment)]
        });
        let rows = table(&["name", "value", "what it is"], rows);
        write!(page, "### {name}\n\n{}\n\n{rows}\n", text(&it.about)).unwrap();
        for (_, kind, _) in &it.fields {
            let plain = kind.trim_start_matches("Option<").trim_start_matches("Vec<").trim_end_matches('>');
            let is_plain = PLAIN.iter().any(|(name, _)| name.trim_end_matches('>') == plain);
            if !is_plain && !order.iter().any(|seen| seen == plain) {
                order.push(plain.to_owned());
            }
        }
    }
    page
}
