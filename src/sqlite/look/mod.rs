//! What a database says of itself when it is asked by SQL: its schema, its keys, its sizes, its
//! plans. Changes nothing.

pub mod explain;
pub mod facts;
pub mod keys;
pub mod names;
pub mod query;
pub mod refused;
pub mod rowids;
pub mod schema;
pub mod sizes;
