//! Times as the page shows them.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::words;

/// A time in words; exact for whoever hovers, and for machines.
pub(super) fn when(now: DateTime<Utc>, time: impl Into<Option<DateTime<Utc>>>) -> Markup {
    let Some(time) = time.into() else { return html! { (words::ago(now, None)) } };
    let exact = time.format("%Y-%m-%d %H:%M:%S UTC");
    html! { time datetime=(time.to_rfc3339()) title=(exact) { (words::relative(now, time)) } }
}

/// A time in full.
pub(super) fn clock_time(time: DateTime<Utc>) -> Markup {
    html! { time datetime=(time.to_rfc3339()) { (time.format("%Y-%m-%d %H:%M:%S UTC")) } }
}
