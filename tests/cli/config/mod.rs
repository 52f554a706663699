//! The configuration through its public face: real TOML in, a `Config` or a rejection with places
//! out.

mod fixture;
mod packaged;
mod places;
mod refused;
mod reload;
mod rules;
mod values;
