//! A job's report for people. Knows no job: what it did is a tree of named values, shown by the
//! ends of the names (`_bytes`, `_seconds`, `_ms`, `share`). What is nought, empty or unknown is
//! left out.

use serde_json::{Map, Value};

use super::page::Page;
use super::table::TextTable;
use crate::jobs::Report;
use crate::words;

/// A text longer than this is a sentence, and no cell of a table.
const LONGEST_CELL: usize = 30;

/// A shorter one is in a summary by chance.
const LEAST_SAID: usize = 5;

const INDENT: usize = 2;

/// The summary, then the detail, then what went wrong, and what was left out.
pub(in crate::cli) fn render(page: &mut Page, report: &Report) {
    // What a problem or a finding says is not said twice.
    if report.problems.iter().chain(&report.findings).all(|error| error.message != report.summary) {
        page.paragraph(&report.summary);
    }
    let is_preview = report.detail.get("dry_run").is_some_and(|dry_run| *dry_run == true);
    let previewed = is_preview.then(|| previewed(&report.detail));
    if let Value::Object(detail) = previewed.as_ref().unwrap_or(&report.detail) {
        object(page, detail, &report.summary);
    }
    for (lead, errors) in [("problem: ", &report.problems), ("found: ", &report.findings)] {
        for error in errors {
            page.beside(lead, &error.message);
        }
    }
    for what in report.left_out.iter().filter(|what| !report.summary.contains(*what)) {
        page.beside("left out: ", what);
    }
}

/// The detail of a run that only looks: nothing was removed.
fn previewed(detail: &Value) -> Value {
    match detail {
        Value::Object(object) => {
            let name = |name: &str| if name == "removed" { "would_go" } else { name }.to_owned();
            Value::Object(object.iter().map(|(key, value)| (name(key), previewed(value))).collect())
        }
        Value::Array(list) => list.iter().map(previewed).collect(),
        other => other.clone(),
    }
}

/// A value that stands in the summary already is not said again.
fn object(page: &mut Page, object: &Map<String, Value>, summary: &str) {
    let (lists, plain): (Vec<_>, Vec<_>) = object.iter().partition(|(_, value)| is_list_of_objects(value));
    let is_said = |name: &str, value: &Value| {
        cell(name, value).is_some_and(|text| text.len() >= LEAST_SAID && summary.contains(&text))
    };
    fields(page, plain.into_iter().filter(|(name, value)| !is_said(name, value)), INDENT);
    for (name, list) in lists {
        let objects: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
        page.line(format!("{:INDENT$}{}:", "", title(name)));
        list_of_objects(page, &objects);
    }
}

fn is_list_of_objects(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object))
}

/// One line for each field.
fn fields<'a>(page: &mut Page, fields: impl Iterator<Item = (&'a String, &'a Value)>, indent: usize) {
    let shown: Vec<_> = fields.filter_map(|(name, value)| Some((title(name), cell(name, value)?))).collect();
    let longest = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in shown {
        page.beside(&format!("{:indent$}{name:longest$}  ", ""), &value);
    }
}

/// A table where its columns have room, and a block for each object where they have not. Sentences
/// go into the last column.
fn list_of_objects(page: &mut Page, objects: &[&Map<String, Value>]) {
    let indent = 2 * INDENT;
    let table = table(objects);
    // The gap before a last column that is empty needs no room.
    if page.has_room(indent + table.least_width()) {
        return page.table(indent, &table);
    }
    for (n, object) in objects.iter().enumerate() {
        if n > 0 {
            page.line("");
        }
        fields(page, object.iter(), indent);
    }
}

fn table(objects: &[&Map<String, Value>]) -> TextTable {
    let mut names: Vec<&String> = Vec::new();
    for name in objects.iter().flat_map(|object| object.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let cells = |name: &String| objects.iter().filter_map(|o| cell(name, o.get(name)?)).collect::<Vec<_>>();
    names.retain(|name| !cells(name).is_empty());
    let is_number =
        |name: &String| objects.iter().all(|o| o.get(name).is_none_or(|v| v.is_number() || v.is_null()));
    // What it is about comes before how much.
    names.sort_by_key(|name| is_number(name));
    let is_short = |name: &&String| cells(name).iter().all(|text| text.chars().count() <= LONGEST_CELL);
    let (short, long): (Vec<&String>, Vec<&String>) = names.into_iter().partition(is_short);
    let right: Vec<usize> = (0..short.len()).filter(|&at| is_number(short[at])).collect();

    // One kind of sentence has a heading; of several, each says what it is.
    let heading = match long.as_slice() {
        [only] => title(only).to_uppercase(),
        _ => String::new(),
    };
    let head = short.iter().map(|name| title(name).to_uppercase()).chain([heading]);
    let mut table = TextTable::new(head).right(&right);
    for object in objects {
        let value = |name: &String| object.get(name).and_then(|value| cell(name, value));
        let sentence = |name: &&String| match long.len() {
            1 => value(name),
            _ => Some(format!("{}: {}", title(name), value(name)?)),
        };
        let sentences: Vec<_> = long.iter().filter_map(sentence).collect();
        table.row(short.iter().map(|name| value(name).unwrap_or_default()).chain([sentences.join("; ")]));
    }
    table
}

/// `raw_bytes` is `raw`: the unit is in the value.
fn title(name: &str) -> String {
    match name {
        "seconds" => return String::from("took"),
        "goes" => return String::from("reason"),
        _ => {}
    }
    let name = ["_bytes", "_seconds", "_ms"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    name.replace('_', " ")
}

/// The value in words; `None` where there is nothing to say.
fn cell(name: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::Bool(true) => String::from("yes"),
        Value::String(text) => text.clone(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(0), _) | (_, Some(0.0)) => return None,
            (Some(bytes), _) if name.ends_with("_bytes") => words::bytes(bytes),
            (_, Some(seconds)) if name == "seconds" || name.ends_with("_seconds") => words::duration(seconds),
            (_, Some(millis)) if name.ends_with("_ms") => words::duration(millis / 1000.0),
            (_, Some(share)) if name == "share" || name.ends_with("_share") => words::percent(share),
            (Some(count), _) => words::count(count),
            _ => number.to_string(),
        },
        Value::Array(list) => {
            list.iter().filter_map(|value| cell(name, value)).collect::<Vec<_>>().join(", ")
        }
        Value::Object(object) => object
            .iter()
            .filter_map(|(name, value)| Some(format!("{} {}", title(name), cell(name, value)?)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Reason};
    use serde_json::json;

    fn report() -> Report {
        let detail = json!({ "dry_run": true, "rules": [
            { "table": "attendance", "rows": 1500, "removed": 500, "share": 0.3333, "batches": 0, "refused": null },
            { "table": "log", "rows": 20, "removed": 0, "share": 0.0, "batches": 0,
              "refused": "the table has triggers, and its rule does not allow them" },
        ]});
        let mut report = Report::new("would remove 500 rows", &detail);
        report.problems.push(Error::new(Reason::Refused, "rule on log.at: triggers"));
        report
    }

    fn rendered(width: Option<usize>) -> String {
        let mut page = Page::new(width);
        render(&mut page, &report());
        page.text().to_owned()
    }

    #[test]
    fn a_list_is_a_table_without_what_is_nought_everywhere() {
        let expected = "\
would remove 500 rows
  dry run  yes
  rules:
    TABLE        ROWS  WOULD GO  SHARE  REFUSED
    attendance  1,500       500  33.3%
    log            20                   the table has triggers, and its rule does not allow them
problem: rule on log.at: triggers
";
        assert_eq!(rendered(None), expected);
    }

    #[test]
    fn a_table_that_has_no_room_is_shown_in_blocks() {
        let expected = "\
would remove 500 rows
  dry run  yes
  rules:
    table     attendance
    rows      1,500
    would go  500
    share     33.3%

    table    log
    rows     20
    refused  the table has
             triggers, and
             its rule does
             not allow them
problem: rule on log.at:
         triggers
";
        assert_eq!(rendered(Some(28)), expected);
    }

    #[test]
    fn what_a_problem_says_is_not_said_twice() {
        let mut report =
            Report::new("app: damaged", &json!({ "seconds": 0.25, "goes": ["older than a year"] }));
        report.problems.push(Error::new(Reason::Damaged, "app: damaged"));
        let mut page = Page::new(None);
        render(&mut page, &report);
        assert_eq!(page.text(), "  took    250 ms\n  reason  older than a year\nproblem: app: damaged\n");
    }

    #[test]
    fn amounts_are_said_in_their_units() {
        let said = |name, value| cell(name, &value).unwrap();
        assert_eq!(said("raw_bytes", json!(2048)), "2.0 KiB");
        assert_eq!(said("seconds", json!(0.25)), "250 ms");
        assert_eq!(said("longest_transaction_ms", json!(12.4)), "12 ms");
        assert_eq!(
            said("children", json!({ "samples": { "removed": 7, "changed": 0 } })),
            "samples removed 7"
        );
        assert_eq!(said("removed", json!(["a", "b"])), "a, b");
    }
}
