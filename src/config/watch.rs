//! `[watch]` and its queries.

use std::collections::BTreeMap;
use std::time::Duration;

use super::when::When;

/// `[watch]` and its queries.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// When.
    pub when: When,
    /// A statement slower than this is logged, counted and kept.
    pub slow_threshold: Duration,
    /// `[database.NAME.watch.QUERY]`.
    pub queries: Vec<Query>,
}

/// A query run on schedule to see how long it takes and how it is planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its name, for labels.
    pub name: String,
    /// One SELECT.
    pub sql: String,
    /// Values of its named parameters, without the colon.
    pub params: BTreeMap<String, Value>,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number (a TOML boolean is 0 or 1).
    Integer(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
}
