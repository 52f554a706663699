//! A page of metrics, read strictly by the rules of its format: what breaks one fails the test.

use litekeeper::metrics::Format;
use std::collections::{BTreeMap, BTreeSet};

/// One family as the page has it.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads a page; panics where the exposition formats forbid something.
pub(crate) fn parse(page: &str, format: Format) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut current, mut helped): (Option<String>, Option<String>) = (None, None);
    let mut seen = BTreeSet::new();
    assert!(page.ends_with('\n'), "the last line must end");
    let lines: Vec<&str> = page.split_terminator('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        if *line == "# EOF" {
            assert_eq!(format, Format::OpenMetrics);
            assert_eq!(number, lines.len() - 1, "nothing follows # EOF");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect("HELP has a text");
            assert!(!text.is_empty() && !families.contains_key(name), "second HELP of {name}");
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("TYPE has a kind");
            assert_eq!(helped.as_deref(), Some(name), "TYPE follows its own HELP");
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "second TYPE of {name}");
            current = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            assert_eq!(format, Format::OpenMetrics);
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(current.as_deref() == Some(name) && name.ends_with(&format!("_{unit}")));
        } else {
            assert!(!line.is_empty() && !line.starts_with('#'), "stray line {line:?}");
            let (name, labels, value) = parse_sample(line);
            let family = current.clone().expect("a sample belongs to a family");
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{name} stands in {family}"));
            let allowed: &[&str] = match (families[&family].kind.as_str(), format) {
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                ("counter", Format::OpenMetrics) => &["_total"],
                ("info", Format::OpenMetrics) => &["_info"],
                ("counter" | "gauge", _) => &[""],
                (kind, _) => panic!("unknown type {kind}"),
            };
            assert!(allowed.contains(&suffix), "{name} in the {family} family");
            assert!(seen.insert((name.clone(), labels.clone())), "{line} is there twice");
            families.get_mut(&family).unwrap().samples.push((name, labels, value));
        }
    }
    if format == Format::OpenMetrics {
        assert_eq!(lines.last(), Some(&"# EOF"));
    }
    families
}

pub(crate) fn parse_sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name:?}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (key, after) = rest.split_once("=\"").unwrap();
            let (mut value, mut end, mut chars) = (String::new(), None, after.char_indices());
            while let Some((i, c)) = chars.next() {
                match c {
                    '"' => {
                        end = Some(i + 1);
                        break;
                    }
                    '\\' => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("unknown escape \\{c} in {line}"),
                    }),
                    c => value.push(c),
                }
            }
            assert!(labels.insert(key.to_owned(), value).is_none(), "label {key} twice");
            rest = &after[end.expect("the label's value ends")..];
            match rest.split_at(1) {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                (other, _) => panic!("{other:?} after a label in {line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{value:?} is no number")))
}

/// The value of the one sample of that name with exactly those labels.
pub(crate) fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let families = parse(page, Format::Text);
    families.values().flat_map(|f| &f.samples).find(|(n, l, _)| n == name && *l == labels).map(|s| s.2)
}
