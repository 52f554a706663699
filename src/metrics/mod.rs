//! stand-in until the real room lands
pub mod events;
