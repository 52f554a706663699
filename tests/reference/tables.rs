//! Metrics, reasons and exit codes: each page is one table of the program, or two.

use litekeeper::cli::exit;
use litekeeper::error::{Class, Reason};
use litekeeper::metrics::{index_reasons, names};

use crate::{code, holds, table};

#[test]
fn the_page_of_metrics_has_every_metric() {
    let rows = names::ALL.iter().map(|metric| {
        vec![
            code(&[metric.name]),
            metric.kind.as_str().to_owned(),
            code(metric.labels),
            metric.help.to_owned(),
        ]
    });
    let metrics = table(&["metric", "kind", "labels", "what it tells"], rows);
    let buckets = names::ALL.iter().filter_map(|metric| match metric.kind {
        names::MetricKind::Histogram(bounds) => {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            Some(vec![code(&[metric.name]), bounds.join(", ")])
        }
        _ => None,
    });
    let buckets = table(&["histogram", "upper bounds in seconds"], buckets);
    holds("metrics.md", &[("metrics", metrics), ("buckets", buckets)]);
}

#[test]
fn the_page_of_reasons_has_every_reason_and_what_to_do() {
    let rows = Reason::ALL.iter().map(|reason| {
        let again = match reason.class() {
            Class::Transient => "yes",
            Class::Permanent => "no",
            Class::Cancelled => "in its turn",
        };
        vec![
            code(&[reason.as_str()]),
            reason.meaning().to_owned(),
            reason.remedy().to_owned(),
            again.to_owned(),
        ]
    });
    let reasons = table(&["reason", "what it means", "what to do", "tried again"], rows);
    let rows = index_reasons::ALL.iter().map(|reason| {
        let check = if reason.is_bad { "bad" } else { "good" };
        vec![code(&[reason.word]), reason.meaning.to_owned(), check.to_owned()]
    });
    let indexes = table(&["reason", "what it means", "the check"], rows);
    holds("reasons.md", &[("reasons", reasons), ("indexes", indexes)]);
}

#[test]
fn the_page_of_exit_codes_has_every_code_and_the_reasons_that_lead_to_it() {
    let rows = exit::CODES.iter().map(|&(number, meaning)| {
        let reasons: Vec<&str> =
            Reason::ALL.iter().filter(|reason| exit::code(**reason) == number).map(|r| r.as_str()).collect();
        vec![format!("`{number}`"), meaning.to_owned(), code(&reasons)]
    });
    let codes = table(&["code", "meaning", "reasons of an error that end with it"], rows);
    holds("exit-codes.md", &[("codes", codes), ("commands", crate::commands::exit_codes())]);
}
