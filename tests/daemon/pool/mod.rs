//! The connections to one database: how many there are, how they are opened and set up, how work on
//! them is timed and how it is stopped, beside an application in another process.

mod beside;
mod fixture;
mod idle;
mod lending;
mod opening;
mod owners;
mod stopping;
mod timing;
