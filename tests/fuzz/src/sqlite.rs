//! What the salvage stands on.

#[path = "../../../src/sqlite/pages/mod.rs"]
pub mod pages;
#[path = "../../../src/sqlite/salvage/mod.rs"]
pub mod salvage;
