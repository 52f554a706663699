//! Writes the page that Prometheus scrapes: merges the recorders' own pages into one, each family
//! once with its HELP and TYPE, in the text format 0.0.4 or in OpenMetrics 1.0. Knows nothing of
//! what is counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::names::{self, Metric, MetricKind};

/// The form of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The form that an `Accept` header asks for. OpenMetrics only where it is named, in a version
    /// that we speak, and wanted at least as much as plain text.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let (mut open, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0_f32, None);
            for (name, value) in parts.filter_map(|p| p.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                    open = quality.max(open);
                }
                "text/plain" | "text/*" | "*/*" => text = quality.max(text),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One page out of those of the recorders: families by name, in each the series by their labels.
/// Names that are not in the table are left out, and so are series whose value is NaN: a gauge that
/// cannot be told any more is set to NaN, as the exporter has no way to delete one.
pub(super) fn merge(pages: &[String], format: Format) -> String {
    let mut families: BTreeMap<&str, (&Metric, Vec<&str>)> = BTreeMap::new();
    for page in pages {
        let mut family = None;
        for line in page.lines() {
            if let Some(header) = line.strip_prefix("# TYPE ") {
                family = header.split(' ').next().and_then(names::find);
            } else if let Some(metric) = family
                && !line.is_empty()
                && !line.starts_with('#')
                && !line.ends_with(" NaN")
            {
                families.entry(metric.name).or_insert_with(|| (metric, Vec::new())).1.push(line);
            }
        }
    }
    let mut out = String::new();
    for (metric, mut lines) in families.into_values() {
        // Stable, so that the buckets of one histogram keep their rising order.
        lines.sort_by(|a, b| labels(metric, a).cmp(labels(metric, b)));
        header(&mut out, metric, format);
        for line in lines {
            match format {
                Format::Text => out.push_str(line),
                Format::OpenMetrics => out.push_str(&with_float_bound(metric, line)),
            }
            out.push('\n');
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn header(out: &mut String, metric: &Metric, format: Format) {
    let (family, kind) = match (format, metric.kind) {
        (Format::Text, MetricKind::Info) => (metric.name, "gauge"),
        // OpenMetrics names the family without what the kind adds to its samples' names.
        (Format::OpenMetrics, MetricKind::Counter) => (metric.name.trim_end_matches("_total"), "counter"),
        (Format::OpenMetrics, MetricKind::Info) => (metric.name.trim_end_matches("_info"), "info"),
        (_, kind) => (metric.name, kind.as_str()),
    };
    let help = metric.help.replace('\\', r"\\").replace('\n', r"\n");
    let help = if format == Format::OpenMetrics { help.replace('"', "\\\"") } else { help };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
    if format == Format::OpenMetrics {
        for unit in ["seconds", "bytes"] {
            if family.ends_with(&format!("_{unit}")) {
                let _ = writeln!(out, "# UNIT {family} {unit}");
            }
        }
    }
}

/// Where a bucket's bound stands in its line; `None` for every other line. The exporter writes `le`
/// last.
fn bound(metric: &Metric, line: &str) -> Option<usize> {
    let rest = line.strip_prefix(metric.name)?;
    if rest.starts_with("_bucket{") { line.rfind("le=\"") } else { None }
}

/// The labels of a sample, without the bound of a bucket, so that all samples of one series compare
/// as equal.
fn labels<'a>(metric: &Metric, line: &'a str) -> &'a str {
    let start = line.find('{').map_or(line.len(), |at| at + 1);
    let end = bound(metric, line).or_else(|| line.rfind('}')).unwrap_or(line.len());
    line.get(start..end).unwrap_or_default().trim_end_matches(',')
}

/// The same line, its bucket's bound written as a float (`1.0`), as OpenMetrics wants it.
fn with_float_bound(metric: &Metric, line: &str) -> String {
    let parts = bound(metric, line).map(|at| line.split_at(at + "le=\"".len()));
    match parts.and_then(|(head, tail)| Some((head, tail.split_once('"')?))) {
        Some((head, (le, tail))) if !le.contains(['.', 'e', 'I']) => format!("{head}{le}.0\"{tail}"),
        _ => line.to_owned(),
    }
}
