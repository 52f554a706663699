//! What `check` says of a configuration and of the machine.

mod backup_places;
mod remedies;
mod sandboxed;
mod schedules;
