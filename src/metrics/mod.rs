//! What the daemon says about itself: one struct per fact in `events`, whose `emit` writes the log
//! line and the metric together, so that the two never disagree. Must never hold SQL text, paths or
//! error texts in a label, and decides nothing.

pub mod events;
mod exporter;
pub mod index_reasons;
pub mod names;
mod recorder;

pub use exporter::Format;
pub use recorder::{Expected, Metrics};
