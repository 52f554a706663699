//! How many rows of a table have a value, from the sample: the planner's statistics know nothing of
//! an index that does not exist. Estimates only; what the planner does with an index is its own
//! answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CStr;

use rusqlite::{Connection, ToSql, params_from_iter};

use super::conditions::{Comparison, Condition, Text};
use super::index::{NewIndex, NewKey};
use super::material::{Sample, Schema};
use super::question::Question;
use super::rewrite::UNKNOWN;
use super::twin::Twin;
use crate::error::Result;
use crate::sql::quoting::quoted;
use crate::sqlite::look::schema::WITHOUT_ROWID;

/// Rows of a table that nobody sampled: a view, a virtual table. What SQLite takes without
/// statistics is 1,048,576, which would make each gain look grand.
const ROWS_UNKNOWN: f64 = 1000.0;

/// Share of the rows that one side of a range leaves, and both, as SQLite guesses
/// (`whereRangeScanEst` in where.c).
const ONE_SIDE: f64 = 0.25;
const BOTH_SIDES: f64 = 1.0 / 64.0;

/// Bytes of an index's entry beside its values: its place in the page, its length, the length of
/// the record's header (<https://www.sqlite.org/fileformat2.html#record_format>).
const OVERHEAD: f64 = 4.0;
/// How full the pages of an index are after CREATE INDEX, the inner ones counted in.
const FILL: f64 = 0.97;

/// A sample of the rows, in memory. Its tables have neither constraints nor generated columns,
/// which rows whose long values were left out might not satisfy: they have what was read.
pub(super) struct Figures {
    rows: Connection,
    totals: BTreeMap<String, f64>,
    /// The columns by which an index of the table leads to its rows; none: a rowid that has no
    /// other name.
    ends: BTreeMap<String, Vec<String>>,
    shares: RefCell<BTreeMap<String, f64>>,
}

impl Figures {
    pub(super) fn new(schema: &Schema, samples: &[Sample]) -> Result<Self> {
        // Without the indexes, which nobody searches here.
        let objects = schema.objects.iter().filter(|o| o.kind == "table").cloned().collect();
        let twin = Twin::new(&Schema { objects, ..Schema::default() })?;
        let rows = Connection::open_in_memory()?;
        let mut ends = BTreeMap::new();
        for sample in samples {
            fill(&rows, &twin.connection, sample)?;
            ends.insert(sample.table.to_ascii_lowercase(), end(&twin.connection, &sample.table)?);
        }
        let totals = samples.iter().map(|s| (s.table.to_ascii_lowercase(), s.total)).collect();
        Ok(Self { rows, totals, ends, shares: RefCell::default() })
    }

    /// Whether CREATE INDEX takes this key for the rows that there are: not
    /// `date(at, 'localtime')`, which is another one tomorrow, nor what cannot be worked out for
    /// some row.
    pub(super) fn can_be_indexed(&self, table: &str, key: &NewKey) -> bool {
        let create = format!("CREATE INDEX lk_tried ON {} ({})", quoted(table), key.compared());
        let made = self.rows.execute_batch(&create);
        made.and_then(|()| self.rows.execute_batch("DROP INDEX lk_tried")).is_ok()
    }

    /// Whether there is a sample of this table.
    pub(super) fn knows(&self, table: &str) -> bool {
        self.totals.contains_key(&table.to_ascii_lowercase())
    }

    /// Rows of a table.
    pub(super) fn total(&self, table: &str) -> f64 {
        self.totals.get(&table.to_ascii_lowercase()).map_or(ROWS_UNKNOWN, |total| total.max(1.0))
    }

    /// Share of the rows with one value of all these keys, on the average.
    pub(super) fn share_of_one(&self, table: &str, keys: &[NewKey]) -> f64 {
        if keys.is_empty() {
            return 1.0;
        }
        let keys: Vec<String> = keys.iter().map(NewKey::compared).collect();
        let (list, total) = (keys.join(", "), self.total(table));
        let memory = format!("{table}: {list}");
        if let Some(known) = self.shares.borrow().get(&memory) {
            return *known;
        }
        let values = keys.iter().map(|key| format!("{key} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "SELECT count(1), coalesce(sum(n = 1), 0), coalesce(sum(n), 0), (SELECT count(1) FROM {table}) \
             FROM (SELECT count(1) AS n FROM {table} WHERE {values} GROUP BY {list})",
            table = quoted(table)
        );
        let counted = self.rows.query_row(&sql, [], |row| {
            Ok((row.get::<_, f64>(0)?, row.get::<_, f64>(1)?, row.get::<_, f64>(2)?, row.get::<_, f64>(3)?))
        });
        let share = match counted {
            Ok((values, once, with_value, sampled)) if values > 0.0 => {
                let share_with_value = with_value / sampled;
                share_with_value / distinct(values, once, with_value, total * share_with_value)
            }
            Ok(_) => 1.0 / total,
            // A collation or a function of the application's: as SQLite guesses, ten rows for a
            // value.
            Err(_) => 10.0 / total,
        };
        let share = share.clamp(1.0 / total, 1.0);
        self.shares.borrow_mut().insert(memory, share);
        share
    }

    /// Share of the rows that this condition leaves, where its values are known and the sample has
    /// such rows.
    fn share_of(&self, question: &Question, table: &str, condition: &Condition) -> Option<f64> {
        if question.values.is_none() && condition.kind != Comparison::Null {
            return None;
        }
        let rest = Text::new(&question.sql).of(condition.rest.clone());
        if rest.contains(UNKNOWN.trim_matches('\'')) {
            return None;
        }
        let sql =
            format!("SELECT avg(coalesce(({} {rest}), 0)) FROM {}", quoted(&condition.column), quoted(table));
        let mut statement = self.rows.prepare(&sql).ok()?;
        let values = question.values.as_deref().unwrap_or_default();
        for at in 1..=statement.parameter_count() {
            let name = statement.parameter_name(at)?.get(1..)?.to_owned();
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            statement.raw_bind_parameter(at, value.to_sql().ok()?).ok()?;
        }
        let mut rows = statement.raw_query();
        rows.next().ok()??.get::<_, Option<f64>>(0).ok()?
    }

    /// Share of the rows of `table` that an index is left with: equal in `equal`, then within a
    /// range of `range`, which has so many sides. A known value that is rarer than the average
    /// counts as what it is.
    pub(super) fn share(
        &self,
        known: &QuestionColumns<'_>,
        table: &str,
        equal: &[NewKey],
        range: Option<(&NewKey, usize)>,
    ) -> f64 {
        let of = |key: &NewKey, is: fn(Comparison) -> bool| known.of(table, &key.column).find(|c| is(c.kind));
        let is_null = |key: &&NewKey| of(key, |kind| kind == Comparison::Null).is_some();
        let is_column = |key: &&NewKey| key.text == quoted(&key.column);
        let (nulls, values): (Vec<&NewKey>, Vec<&NewKey>) = equal.iter().partition(is_null);
        let values: Vec<NewKey> = values.into_iter().cloned().collect();
        let mut share = self.share_of_one(table, &values);
        for key in nulls {
            let condition = of(key, |kind| kind == Comparison::Null);
            share *= condition.and_then(|c| self.share_of(known.question, table, c)).unwrap_or(1.0);
        }
        for key in &values {
            if let Some(Condition { kind: Comparison::In(values), .. }) =
                of(key, |k| matches!(k, Comparison::In(_)))
            {
                share *= *values as f64;
            }
            let exact = Some(key).filter(is_column).and_then(|key| of(key, |kind| kind == Comparison::Equal));
            let exact =
                exact.and_then(|c| self.share_of(known.question, table, c)).filter(|share| *share > 0.0);
            if let Some(exact) = exact {
                share *= exact / self.share_of_one(table, std::slice::from_ref(key));
            }
        }
        if let Some((key, sides)) = range {
            share *= self.range(known, table, key, sides);
        }
        share.clamp(1.0 / self.total(table), 1.0)
    }

    fn range(&self, known: &QuestionColumns<'_>, table: &str, key: &NewKey, sides: usize) -> f64 {
        let guess = if sides > 1 { BOTH_SIDES } else { ONE_SIDE };
        let ranges =
            known.of(table, &key.column).filter(|c| matches!(c.kind, Comparison::Range | Comparison::Like));
        let shares: Vec<Option<f64>> = ranges.map(|c| self.share_of(known.question, table, c)).collect();
        let all: Option<Vec<f64>> = shares.into_iter().collect();
        match all {
            // Two sides, each by itself: what they leave out is left out by both.
            Some(all) if !all.is_empty() => (1.0 - all.iter().map(|share| 1.0 - share).sum::<f64>()).max(0.0),
            _ => guess,
        }
    }

    /// Share of the rows that all conditions of the text leave, whatever is used to find them.
    pub(super) fn left(&self, known: &QuestionColumns<'_>, table: &str) -> f64 {
        if known.is_alternative {
            return 1.0;
        }
        let has_column = |c: &&Condition| self.has_column(table, &c.column);
        let conditions: Vec<&Condition> = known.all(table).filter(has_column).collect();
        let mut equal: Vec<NewKey> = Vec::new();
        let mut ranges: BTreeMap<&str, usize> = BTreeMap::new();
        for condition in conditions {
            match condition.kind {
                Comparison::Range | Comparison::Like => *ranges.entry(&condition.column).or_default() += 1,
                _ if equal.iter().any(|key| key.column == condition.column) => {}
                _ => equal.push(NewKey::column(&condition.column)),
            }
        }
        let mut share = self.share(known, table, &equal, None);
        for (column, sides) in ranges {
            share *= self.range(known, table, &NewKey::column(column), sides);
        }
        share.clamp(1.0 / self.total(table), 1.0)
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        let sql = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE";
        self.rows.prepare_cached(sql).and_then(|mut s| s.exists([table, column])).unwrap_or(false)
    }

    /// Whether all that the sample has in a column is text, and it has some.
    pub(super) fn holds_text(&self, table: &str, key: &NewKey) -> bool {
        let sql = format!(
            "SELECT min(typeof({0}) = 'text') FROM {1} WHERE {0} IS NOT NULL",
            key.text,
            quoted(table)
        );
        self.rows.query_row(&sql, [], |row| row.get(0)).unwrap_or(false)
    }

    /// Bytes that an index would take.
    pub(super) fn bytes(&self, index: &NewIndex) -> f64 {
        let total = self.total(&index.table);
        let ends = self.ends.get(&index.table.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default();
        let is_new = |column: &&String| !index.keys.iter().any(|key| key.text == quoted(column));
        let columns = ends.iter().filter(is_new).map(|column| stored(&quoted(column)));
        let mut values: Vec<String> = index.keys.iter().map(|key| stored(&key.text)).chain(columns).collect();
        if ends.is_empty() {
            values.push(stored(&format!("{total:.0}")));
        }
        let sql = format!("SELECT avg({}) FROM {}", values.join(" + "), quoted(&index.table));
        let width = self.rows.query_row(&sql, [], |row| row.get::<_, Option<f64>>(0)).ok().flatten();
        total * (width.unwrap_or(16.0) + OVERHEAD) / FILL
    }

    /// The row that ANALYZE would write to sqlite_stat1 for an index.
    pub(super) fn statistics(&self, table: &str, keys: &[NewKey]) -> String {
        let total = self.total(table);
        let rows = (1..=keys.len()).map(|n| (self.share_of_one(table, &keys[..n]) * total).max(1.0));
        std::iter::once(total).chain(rows).map(|n| format!("{n:.0}")).collect::<Vec<_>>().join(" ")
    }
}

/// Makes the table of a sample and puts its rows in: for counting, never for planning.
fn fill(rows: &Connection, schema: &Connection, sample: &Sample) -> Result<()> {
    let text = |text: Option<&CStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let mut columns = Vec::new();
    for column in &sample.columns {
        let (declared, collation, ..) = schema.column_metadata(Some("main"), &sample.table, column)?;
        // ANY of a STRICT table would elsewhere make numbers of texts.
        let declared = Some(text(declared)).filter(|d| !d.is_empty() && !d.eq_ignore_ascii_case("ANY"));
        let declared = declared.map(|declared| quoted(&declared)).unwrap_or_default();
        columns.push(format!("{} {declared} COLLATE {}", quoted(column), quoted(&text(collation))));
    }
    let table = quoted(&sample.table);
    rows.execute_batch(&format!("BEGIN; CREATE TABLE {table} ({})", columns.join(", ")))?;
    let marks = vec!["?"; columns.len()].join(", ");
    let mut insert = rows.prepare(&format!("INSERT INTO {table} VALUES ({marks})"))?;
    for row in &sample.rows {
        insert.execute(params_from_iter(row))?;
    }
    Ok(rows.execute_batch("COMMIT")?)
}

/// The columns by which an index of this table leads to its rows.
fn end(schema: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statement = schema.prepare(&format!(
        "SELECT c.name FROM pragma_table_info(?1) AS c, main.sqlite_schema AS t \
         WHERE t.type = 'table' AND t.name = ?1 COLLATE NOCASE AND c.pk > 0 \
         AND ({WITHOUT_ROWID} OR c.type = 'INTEGER' COLLATE NOCASE AND (SELECT max(pk) FROM pragma_table_info(?1)) = 1) \
         ORDER BY c.pk",
    ))?;
    let columns = statement.query_map([table], |row| row.get(0))?;
    Ok(columns.collect::<rusqlite::Result<_>>()?)
}

/// Bytes of a value in a record, that of its type in the header counted in.
fn stored(value: &str) -> String {
    let bytes = [(127_i64, 1), (32_767, 2), (8_388_607, 3), (2_147_483_647, 4), (140_737_488_355_327, 6)];
    let integers =
        bytes.map(|(most, bytes)| format!("WHEN {value} BETWEEN -{most} - 1 AND {most} THEN {bytes}"));
    format!(
        "1 + CASE typeof({value}) WHEN 'null' THEN 0 WHEN 'real' THEN 8 \
         WHEN 'integer' THEN CASE WHEN {value} IN (0, 1) THEN 0 {} ELSE 8 END \
         ELSE octet_length({value}) + (octet_length({value}) > 57) END",
        integers.join(" ")
    )
}

/// What a question says about its columns.
pub(super) struct QuestionColumns<'a> {
    pub(super) question: &'a Question,
    conditions: Vec<Condition>,
    /// Tables by the other names that the text gives them.
    pub(super) aliases: BTreeMap<String, String>,
    /// Conditions may be alternatives, or be denied.
    is_alternative: bool,
    in_select: bool,
}

impl<'a> QuestionColumns<'a> {
    pub(super) fn new(question: &'a Question, schema: &Schema) -> Self {
        let text = Text::new(&question.sql);
        let is_table = |name: &str| {
            schema.objects.iter().any(|o| o.kind != "index" && o.name.eq_ignore_ascii_case(name))
        };
        let mut aliases = text.aliases(is_table);
        for view in schema.objects.iter().filter(|o| o.kind == "view") {
            for (alias, table) in Text::new(&view.sql).aliases(is_table) {
                aliases.entry(alias).or_insert(table);
            }
        }
        let is_alternative = text.has("OR") || text.has("NOT") || text.has("CASE");
        let in_select = (0..text.tokens.len())
            .any(|at| text.is(at, "IN") && text.is(at + 1, "(") && text.is(at + 2, "SELECT"));
        Self { question, conditions: text.conditions(), aliases, is_alternative, in_select }
    }

    /// Whether a column is searched for the values of a subquery.
    pub(super) const fn searches_in_select(&self) -> bool {
        self.in_select
    }

    /// The table that a plan or the text calls so.
    pub(super) fn table<'b>(&'b self, name: &'b str) -> &'b str {
        self.aliases.get(&name.to_ascii_lowercase()).map_or(name, String::as_str)
    }

    /// All conditions that may be about this table.
    fn all(&self, table: &str) -> impl Iterator<Item = &Condition> {
        self.conditions
            .iter()
            .filter(move |c| c.of.as_deref().is_none_or(|of| self.table(of).eq_ignore_ascii_case(table)))
    }

    fn of(&self, table: &str, column: &str) -> impl Iterator<Item = &Condition> {
        self.all(table).filter(move |c| c.column.eq_ignore_ascii_case(column))
    }
}

/// How many values there are in `total` rows, of which `sampled` have so many, `once` of them only
/// once (Haas and Stokes, "Estimating the number of classes in a finite population", 1998, their
/// estimator Duj1).
fn distinct(values: f64, once: f64, sampled: f64, total: f64) -> f64 {
    if once >= sampled {
        return total;
    }
    (sampled * values / (sampled - once + once * sampled / total)).clamp(values, total.max(values))
}
