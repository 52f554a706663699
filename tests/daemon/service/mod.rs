//! The daemon as a service: what its manager, the journal and the commands beside it see of it, and
//! what of the machine it may do without.

mod beside;
mod descriptors;
mod file;
mod journal;
mod start;
