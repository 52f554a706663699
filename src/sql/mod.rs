//! SQL as text: its tokens, the quoting of names, the shape of a statement. Knows no connection and
//! no schema.

pub mod fingerprint;
pub mod quoting;
pub mod tokens;
