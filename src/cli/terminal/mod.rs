//! What a terminal shows: lines, tables, reports, times and how far work is. Knows no verb.

pub(super) mod detail;
pub(super) mod lines;
pub(super) mod out;
pub(super) mod page;
pub(super) mod progress;
pub(super) mod table;
pub(super) mod time;
pub(super) mod tone;
