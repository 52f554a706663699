//! RIGHTS: with whose rights work is done, what users and groups are called, and what the sandbox of
//! a systemd unit leaves of those rights. Reads `/proc`, `/etc/passwd` and `/etc/group`; must never
//! ask a server for a name, which may be away.

mod names;
mod owner;
pub mod sandbox;
pub mod unit;

pub use names::{Member, group, is_group, us, user, user_id};
pub use owner::{Owner, of};
