//! `[health]`: when the quick checks run and when the deep ones, and how deep.

use super::when::When;

/// `[health]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// When the quick checks run: pool, indexes, table sizes, query performance.
    pub when: When,
    /// When the deep checks run: integrity and foreign keys.
    pub integrity_when: When,
    /// How deep.
    pub integrity: Integrity,
}

/// `health.integrity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// `quick_check`.
    Quick,
    /// `integrity_check`.
    Full,
}
