//! The file as tables with places, read key by key. What nobody asked for is an unknown key;
//! whatever is wrong is noted and reading goes on, so that all problems are found at once. Knows no
//! key by itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::wrong::{Mistake, Span, describe};
use crate::config::diagnostic::{LineCount, Position, Problem, Rejection};

/// Problems that are shown, from the beginning of the file: a file with more is another file than
/// was meant, and says so by its first lines.
const SHOWN: usize = 100;

/// What reading has brought to light so far.
pub(super) struct Findings<'t> {
    text: &'t str,
    problems: RefCell<Problems>,
    /// Every key that was asked for, by its full name, and where the file sets it.
    keys: RefCell<BTreeMap<String, Option<Span>>>,
}

/// The first problems of the file, and how many there are. Each costs as little as if it were the
/// only one.
#[derive(Default)]
struct Problems {
    /// By their places and messages, with what to do.
    first: BTreeMap<(usize, usize, String), Option<String>>,
    /// Of all.
    seen: HashSet<(usize, usize, u64)>,
}

impl Problems {
    /// Whether a problem here would be one of the first.
    fn is_shown(&self, span: &Span) -> bool {
        self.first.len() < SHOWN
            || self
                .first
                .last_key_value()
                .is_some_and(|((start, end, _), _)| (span.start, span.end) <= (*start, *end))
    }

    fn add(&mut self, span: &Span, mark: u64, make: impl FnOnce() -> Mistake) {
        if !self.seen.insert((span.start, span.end, mark)) || !self.is_shown(span) {
            return;
        }
        let wrong = make();
        self.first.insert((span.start, span.end, wrong.message), wrong.help);
        if self.first.len() > SHOWN {
            self.first.pop_last();
        }
    }
}

impl<'t> Findings<'t> {
    pub(in crate::config) fn new(text: &'t str) -> Self {
        Self { text, problems: RefCell::default(), keys: RefCell::default() }
    }

    /// Notes something wrong at this place. Once: defaults that several databases share are checked
    /// with each.
    pub(super) fn note(&self, span: Span, wrong: Mistake) {
        let mut hasher = DefaultHasher::new();
        wrong.message.hash(&mut hasher);
        self.problems.borrow_mut().add(&span, hasher.finish(), || wrong);
    }

    /// Notes a key that is wrong as such, of which there may be very many: what to say of it is
    /// only made where it is shown.
    fn note_key(&self, span: &Span, make: impl FnOnce() -> Mistake) {
        self.problems.borrow_mut().add(span, 0, make);
    }

    /// Where the file sets this key or opens this table.
    pub(super) fn span(&self, key: &str) -> Option<Span> {
        self.keys.borrow().get(key).cloned().flatten()
    }

    /// Every key that was asked for.
    pub(super) fn into_keys(self) -> Vec<String> {
        self.keys.into_inner().into_keys().collect()
    }

    /// The problems in the order of the file, if there are any.
    pub(in crate::config) fn rejected(&self, name: &str) -> Option<Rejection> {
        let found = self.problems.borrow();
        let mut lines = LineCount::default();
        let problems: Vec<Problem> = found
            .first
            .iter()
            .map(|((start, end, message), help)| Problem {
                place: Some(Position::counted(self.text, &(*start..*end), &mut lines)),
                message: message.clone(),
                help: help.clone(),
            })
            .collect();
        let more = found.seen.len() - problems.len();
        (!problems.is_empty()).then(|| Rejection { file: name.to_owned(), problems, more })
    }
}

/// The document, or what is wrong with its syntax. A document with wrong syntax is not read any
/// further: what a guess at its meaning would find is noise. For the same reason only the first
/// mistake of a line counts, and of a file that is no TOML at all the first lines say enough.
pub(in crate::config) fn parse<'t>(findings: &Findings<'t>) -> Option<DeTable<'t>> {
    const ENOUGH: usize = 10;
    let (document, errors) = DeTable::parse_recoverable(findings.text);
    let end = findings.text.len();
    let mut found: Vec<_> =
        errors.iter().map(|error| (error.span().unwrap_or(end..end), error.message())).collect();
    found.sort_by_key(|(span, _)| span.start);
    let (mut lines, mut count) = (BTreeMap::new(), LineCount::default());
    for (span, message) in found {
        let line = count.line_of(findings.text, span.start);
        lines.entry(line).or_insert((span, message));
    }
    let more = lines.len().saturating_sub(ENOUGH);
    for (n, (span, message)) in lines.into_values().take(ENOUGH).enumerate() {
        let mut wrong = match unquoted(&Position::new(findings.text, &span).text) {
            Some(help) => Mistake::new("this is not TOML: text without quotes").help(help),
            None => Mistake::new(format!("this is not TOML: {message}")),
        };
        if more > 0 && n + 1 == ENOUGH {
            wrong = wrong.help(format!("so are {more} more lines: is this the right file?"));
        }
        findings.note(span, wrong);
    }
    errors.is_empty().then(|| document.into_inner())
}

/// What to write where a line gives a key a word, duration or size that lacks its quotes.
fn unquoted(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let is_word =
        !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "@/._-:%".contains(c));
    let is_flag = ["true", "false"].iter().any(|flag| flag.eq_ignore_ascii_case(value));
    // What is well written by itself is not what is wrong with the line.
    let is_wrong = DeTable::parse(&format!("value = {value}")).is_err();
    (is_word && is_wrong && !is_flag).then(|| format!("put quotes around it: {} = {value:?}", key.trim()))
}

/// One table of the file, or one that the file leaves out.
pub(super) struct Table<'t> {
    /// Full name, `database.app.pool`; empty for the whole file.
    name: String,
    /// Its header, or its value where it is inline.
    span: Span,
    entries: Option<&'t DeTable<'t>>,
    /// In their order, for what can be suggested.
    asked: Vec<String>,
    /// The same, to find one among very many.
    known: HashSet<String>,
    /// Noted already, and none of the keys to suggest.
    misplaced: HashSet<String>,
    findings: &'t Findings<'t>,
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(super) fn root(document: &'t DeTable<'t>, findings: &'t Findings<'t>) -> Self {
        Self::new(String::new(), 0..0, Some(document), findings)
    }

    fn new(name: String, span: Span, entries: Option<&'t DeTable<'t>>, findings: &'t Findings<'t>) -> Self {
        Self {
            name,
            span,
            entries,
            asked: Vec::new(),
            known: HashSet::new(),
            misplaced: HashSet::new(),
            findings,
        }
    }

    /// The full name of one of its keys.
    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn ask(&mut self, key: &str) {
        if self.known.insert(key.to_owned()) {
            self.asked.push(key.to_owned());
        }
    }

    fn value(&mut self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = self.entries.and_then(|entries| entries.get(key));
        self.findings.keys.borrow_mut().insert(self.full(key), value.map(Spanned::span));
        self.ask(key);
        value
    }

    /// A key's value with its place; `None` where it is left out or wrong.
    pub(in crate::config) fn get<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Mistake>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(wrong) => {
                let span = self.within(value, &wrong);
                self.findings.note(span, wrong.about(&self.full(key)));
                None
            }
        }
    }

    /// The place of a list's element, or of a part of a text: that only where the text stands in
    /// the file as it is, without escapes.
    fn within(&self, value: &Spanned<DeValue<'_>>, wrong: &Mistake) -> Span {
        let item = wrong.item.and_then(|n| value.get_ref().as_array()?.get(n));
        let value = item.unwrap_or(value);
        let (whole, part) = (value.span(), wrong.within.as_ref());
        let (Some(part), Some(text)) = (part, value.get_ref().as_str()) else { return whole };
        let inner = whole.start + 1..whole.end.saturating_sub(1);
        match self.findings.text.get(inner.clone()) {
            Some(raw) if raw == text => inner.start + part.start..inner.start + part.end,
            _ => whole,
        }
    }

    /// Lays the key's value over `target`, which stays as it is where the key is left out or wrong.
    pub(in crate::config) fn set<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Mistake>,
        target: &mut T,
    ) {
        if let Some(value) = self.get(key, read) {
            *target = value;
        }
    }

    /// A key that has no default.
    pub(super) fn need<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Mistake>,
    ) -> Option<T> {
        let read = self.get(key, read);
        // A table that is none has been noted as that.
        if self.entries.is_some_and(|entries| !entries.contains_key(key)) {
            self.note(None, Mistake::new(format!("`{}` is missing", self.full(key))));
        }
        read
    }

    /// A table within this one; without any keys where the file leaves it out.
    pub(in crate::config) fn table(&mut self, key: &str) -> Self {
        let value = self.value(key);
        self.inner(key, value)
    }

    fn inner(&self, key: &str, value: Option<&'t Spanned<DeValue<'t>>>) -> Self {
        let name = self.full(key);
        let Some(value) = value else { return Self::new(name, self.span.clone(), None, self.findings) };
        let entries = value.get_ref().as_table();
        if entries.is_none() {
            let wrong = Mistake::new(format!("`{name}` must be a table, not {}", describe(value.get_ref())));
            self.findings.note(value.span(), wrong.help(format!("write [{name}] on a line of its own")));
        }
        Self::new(name, value.span(), entries, self.findings)
    }

    /// Tables that are written `[[key]]`, in the order of the file.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Self> {
        let name = self.full(key);
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut tables = Vec::new();
        for item in items {
            match (value.get_ref(), item.get_ref()) {
                (DeValue::Array(_), DeValue::Table(entries)) => {
                    tables.push(Self::new(name.clone(), item.span(), Some(entries), self.findings));
                }
                (_, other) => {
                    let wrong =
                        Mistake::new(format!("`{name}` must be a list of tables, not {}", describe(other)));
                    self.findings.note(item.span(), wrong.help(format!("write [[{name}]], once for each")));
                }
            }
        }
        tables
    }

    /// What was not asked for yet and has a name of the user's choice: the name, its place, the
    /// table. Where `only_tables` is false, other values are taken for tables that were written
    /// wrongly.
    pub(super) fn named(&mut self, only_tables: bool) -> Vec<(&'t str, Span, Self)> {
        let mut named = Vec::new();
        for (own, key, value) in self.entries() {
            if self.known.contains(own) || only_tables && !value.get_ref().is_table() {
                continue;
            }
            self.ask(own);
            self.findings.keys.borrow_mut().insert(self.full(own), Some(value.span()));
            named.push((own, key, self.inner(own, Some(value))));
        }
        named
    }

    /// The keys of a table whose keys are all of the user's choice.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'t str, Span, &'t Spanned<DeValue<'t>>)> + use<'t> {
        self.entries
            .into_iter()
            .flat_map(|entries| entries.iter())
            .map(|(k, v)| (k.get_ref().as_ref(), k.span(), v))
    }

    /// Notes something wrong at a key of this table, or at the table.
    pub(super) fn note(&self, key: Option<&str>, wrong: Mistake) {
        let span = key.and_then(|key| self.findings.span(&self.full(key)));
        self.findings.note(span.unwrap_or_else(|| self.span.clone()), wrong);
    }

    /// Notes something wrong at these bytes.
    pub(super) fn note_at(&self, span: Span, wrong: Mistake) {
        self.findings.note(span, wrong);
    }

    /// Refuses a key that belongs elsewhere, with a help that says where.
    pub(super) fn misplaced(&mut self, key: &str, help: &str) {
        let entry = self.entries.and_then(|entries| entries.get_key_value(key));
        if let Some((own, key)) = entry.map(|(own, _)| (own.get_ref().as_ref(), own.span())) {
            let wrong = Mistake::new(format!("`{}` does not belong here", self.full(own)));
            self.findings.note(key, wrong.help(help));
            self.misplaced.insert(own.to_owned());
        }
    }

    /// Refuses all tables that were not asked for, likewise.
    pub(super) fn misplaced_tables(&mut self, help: &str) {
        for (own, _, value) in self.entries() {
            if value.get_ref().is_table() && !self.known.contains(own) {
                self.misplaced(own, help);
            }
        }
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        let here = if self.name.is_empty() { "this file".to_owned() } else { format!("[{}]", self.name) };
        for (own, key, _) in self.entries() {
            if self.known.contains(own) || self.misplaced.contains(own) {
                continue;
            }
            self.findings.note_key(&key, || {
                let nearest = self
                    .asked
                    .iter()
                    .map(|known| (strsim::damerau_levenshtein(own, known), known))
                    .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
                    .min();
                let mean = nearest.map_or(String::new(), |(_, known)| format!("did you mean `{known}`? "));
                let wrong = Mistake::new(format!("unknown key `{}`", self.full(own)));
                wrong.help(format!("{mean}{here} takes {}", self.asked.join(", ")))
            });
        }
    }
}
