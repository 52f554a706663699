//! The systemd unit that runs the daemon with a configuration, and the same look with its rights:
//! its user, its groups, its sandbox. Must change nothing: no unit is started, stopped or written.

mod installed;
mod within;

pub use installed::{Installed, of};
