//! Nothing that users see without its line in the documents, and no link or proof that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use litekeeper::config::keys;
use litekeeper::error::Reason;
use litekeeper::metrics::{index_reasons, names};
use litekeeper::terms::JobKind;

pub(crate) fn document(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// The README and all pages of docs, by their paths from the top.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for directory in ["docs", "docs/reference"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                pages.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

/// What is in the pages is for the test `reference` to say; that they lack nothing is held here as
/// well.
#[test]
fn every_key_metric_reason_and_kind_of_job_is_in_the_reference() {
    let configuration = document("docs/reference/configuration.md");
    let all = keys();
    let described = |key: &String| {
        // A database's own `pool.size` is that of `[pool]`.
        let general = key.strip_prefix("database.NAME.").filter(|general| all.iter().any(|k| k == general));
        configuration.contains(&format!("| `{}` |", general.unwrap_or(key)))
    };
    let missing: Vec<&String> = all.iter().filter(|key| !described(key)).collect();
    assert!(missing.is_empty(), "keys that the reference does not have: {missing:?}");

    let metrics = document("docs/reference/metrics.md");
    let missing: Vec<_> =
        names::ALL.iter().map(|m| m.name).filter(|name| !has_word(&metrics, name)).collect();
    assert!(missing.is_empty(), "metrics that the reference does not have: {missing:?}");

    let reasons = document("docs/reference/reasons.md");
    let words = Reason::ALL.iter().map(|r| r.as_str()).chain(index_reasons::ALL.iter().map(|r| r.word));
    let missing: Vec<_> = words.filter(|word| !reasons.contains(&format!("\n| `{word}` |"))).collect();
    assert!(missing.is_empty(), "reasons that the reference does not have: {missing:?}");

    let json = document("docs/reference/json.md");
    let kinds = JobKind::SCHEDULED.into_iter().chain([JobKind::Checkpoint, JobKind::Recover]);
    let (_, details) = json.split_once("\n## `detail` of a run\n").expect("the details of runs");
    let (details, _) = details.split_once("\n## ").expect("another part after them");
    let missing: Vec<_> = kinds.filter(|kind| !details.contains(&format!("`{kind}`"))).collect();
    assert!(missing.is_empty(), "kinds of job whose detail the reference does not have: {missing:?}");
}

#[test]
fn the_readme_is_short() {
    let bytes = document("README.md").len();
    assert!(bytes <= 14 * 1024, "README.md has {bytes} bytes: what is not for everybody belongs into docs");
}

#[test]
fn links_within_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for page in documents() {
        let text = document(page.to_str().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
            let target =
                if file.is_empty() { root.join(&page) } else { root.join(page.parent().unwrap()).join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if let Some(anchor) = anchor {
                let headings = fs::read_to_string(&target).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#')).map(anchor_of);
                assert!(headings.any(|heading| heading == anchor), "{}: {link}", page.display());
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
}

/// The name under which a heading is linked.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_hazard_that_the_code_speaks_of_has_its_section_and_its_proof() {
    let page = document("docs/HAZARDS.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for directory in ["src", "tests"] {
        read_all(&root.join(directory), &mut code);
    }
    let tests: BTreeSet<&str> = code
        .match_indices("fn h")
        .map(|(at, _)| code[at + 3..].split('(').next().unwrap())
        .filter(|name| !hazards(&name.to_uppercase().replace('_', " ")).is_empty())
        .collect();
    let mut named = hazards(&code);
    named.extend(tests.iter().flat_map(|name| hazards(&name.to_uppercase().replace('_', " "))));
    assert!(named.len() > 30, "only {named:?} were found");

    let sections: BTreeMap<u32, &str> = page
        .split("\n## ")
        .skip(1)
        .map(|section| {
            let (heading, text) = section.split_once('\n').unwrap();
            let number = heading.split_once(": ").and_then(|(number, _)| number.strip_prefix('H'));
            (number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{heading}")), text)
        })
        .collect();
    let missing: Vec<_> = named.iter().filter(|number| !sections.contains_key(number)).collect();
    assert!(missing.is_empty(), "hazards without a section in docs/HAZARDS.md: {missing:?}");
    for (number, text) in &sections {
        let proof = text.split_once("Proof:").unwrap_or_else(|| panic!("H{number} has no proof")).1;
        let proofs: Vec<&str> =
            proof.split('`').skip(1).step_by(2).filter(|name| name.starts_with('h')).collect();
        assert!(!proofs.is_empty(), "H{number} names no test");
        for name in proofs {
            assert!(tests.contains(name), "H{number}: there is no test {name}");
        }
    }
}

/// The numbers of the hazards that a text names: a whole word of H and one or two digits.
fn hazards(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let numbers = words.filter_map(|word| word.strip_prefix('H'));
    numbers.filter(|digits| digits.len() <= 2).filter_map(|digits| digits.parse().ok()).collect()
}

fn read_all(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Not as a part of a longer name.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}
