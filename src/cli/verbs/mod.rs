//! The verbs, a file each: a verb calls the library and shows what comes back. Holds no logic.

pub(super) mod advise;
pub(super) mod backups;
pub(super) mod check;
pub(super) mod demo;
pub(super) mod documents;
pub(super) mod history;
pub(super) mod inspect;
pub(super) mod job;
pub(super) mod pin;
pub(super) mod recover;
pub(super) mod restore;
pub(super) mod run;
pub(super) mod slow;
pub(super) mod status;
pub(super) mod watch_locks;
