//! stand-in
#![allow(missing_docs)]
pub struct BusyRetry<'a> {
    pub database: &'a str,
}
impl BusyRetry<'_> {
    pub fn emit(&self) {}
}
pub struct PoolTimeout<'a> {
    pub database: &'a str,
}
impl PoolTimeout<'_> {
    pub fn emit(&self) {}
}
pub struct PoolRecycled<'a> {
    pub database: &'a str,
}
impl PoolRecycled<'_> {
    pub fn emit(&self) {}
}
pub struct PoolWait<'a> {
    pub database: &'a str,
    pub seconds: f64,
}
impl PoolWait<'_> {
    pub fn emit(&self) {}
}
pub struct PoolGauges<'a> {
    pub database: &'a str,
    pub idle: usize,
    pub in_use: usize,
    pub max: usize,
    pub waiting: usize,
}
impl PoolGauges<'_> {
    pub fn emit(&self) {}
}
pub struct QueryTimed<'a> {
    pub database: &'a str,
    pub job: &'a str,
    pub seconds: f64,
}
impl QueryTimed<'_> {
    pub fn emit(&self) {}
}
pub struct JobStarted<'a> {
    pub database: &'a str,
    pub job: &'a str,
}
impl JobStarted<'_> {
    pub fn emit(&self) {}
}
pub struct JobSkipped<'a> {
    pub database: &'a str,
    pub job: &'a str,
    pub why: &'a str,
}
impl JobSkipped<'_> {
    pub fn emit(&self) {}
}
pub struct JobFinished<'a> {
    pub database: &'a str,
    pub job: &'a str,
    pub outcome: &'a str,
    pub reason: Option<&'a str>,
    pub seconds: f64,
    pub summary: &'a str,
}
impl JobFinished<'_> {
    pub fn emit(&self) {}
}
pub struct CleanupRows<'a> {
    pub database: &'a str,
    pub table: &'a str,
    pub rows: u64,
}
impl CleanupRows<'_> {
    pub fn emit(&self) {}
}
