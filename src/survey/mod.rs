//! LOOK: what can be seen of the databases without a job: their files and backups, what the run
//! history knows, whether the machine is as the configuration takes it to be. For the daemon, and
//! for `status` and `check` without one. Must never open a database.

pub mod disk;
pub mod environment;
pub mod needs;
pub mod overview;
pub mod remote;
pub mod running;
