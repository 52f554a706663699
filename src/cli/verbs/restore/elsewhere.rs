//! The good backups in the other places of a database, for whoever asks for one that is damaged or
//! gone: the newest of them, with the command that restores it. Those places are looked at only
//! then: a bucket may be slow, or not answer. Must never choose in the operator's place.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::path::Path;

use super::Restore;
use crate::cli::terminal::shell::quoted;
use crate::cli::verbs::backups;
use crate::config::{DEFAULT_PATH, Database};
use crate::error::{Error, Reason};
use crate::store::{Backup, Catalogue};

/// Where else to look, and what was asked for.
pub(super) struct Elsewhere<'a> {
    pub(super) configuration: &'a Path,
    pub(super) database: &'a Database,
    pub(super) asked: &'a Restore,
    /// Where it is restored to.
    pub(super) to: &'a Path,
    /// What the command names in a place.
    pub(super) named: &'a dyn Fn(&Catalogue) -> crate::error::Result<Backup>,
}

/// A good one.
struct Found<'a> {
    backup: Backup,
    /// The copy's name; `None` is `backup.dir`.
    place: Option<&'a str>,
}

impl Elsewhere<'_> {
    /// Adds to an error that leaves nothing to restore here what there is elsewhere.
    pub(super) fn instead(&self, error: Error) -> Error {
        // A mistyped name of a copy is no reason to look anywhere.
        if self.database.place(self.asked.from.as_deref()).is_none() {
            return error;
        }
        self.added(error, self.named, None)
    }

    /// The same for one that was found damaged while it was restored: that very one, where another
    /// place has it.
    pub(super) fn instead_of(&self, error: Error, damaged: &Backup) -> Error {
        if error.reason != Reason::Damaged {
            return error;
        }
        let named = |there: &Catalogue| there.find(&damaged.name).or_else(|_| (self.named)(there));
        self.added(error, &named, None)
    }

    /// The one in another place that is newer than what is restored here, in words.
    pub(super) fn newer_than(&self, here: &Backup) -> Option<String> {
        let text = self.added(Error::new(Reason::Damaged, ""), self.named, Some(here)).message;
        (!text.is_empty()).then(|| text.trim_start_matches("; ").to_owned())
    }

    fn added(
        &self,
        mut error: Error,
        named: &dyn Fn(&Catalogue) -> crate::error::Result<Backup>,
        than: Option<&Backup>,
    ) -> Error {
        let (found, unseen) = self.look(named, than);
        // Writing to a String does not fail.
        for text in unseen {
            let _ = write!(error.message, "; {text}");
        }
        if let Some(found) = found {
            let command = self.command(&found);
            let name = stem(&found.backup);
            let _ = match found.place {
                Some(copy) => write!(error.message, "; the copy {copy} has {name}, which is good: {command}"),
                None => write!(error.message, "; backup.dir has {name}, which is good: {command}"),
            };
        }
        error
    }

    /// The newest good one of all other places, and which of them could not be looked at.
    fn look(
        &self,
        named: &dyn Fn(&Catalogue) -> crate::error::Result<Backup>,
        than: Option<&Backup>,
    ) -> (Option<Found<'_>>, Vec<String>) {
        let copies = self.database.backup.copies.iter().map(|copy| Some(copy.name.as_str()));
        let others = std::iter::once(None).chain(copies).filter(|place| *place != self.asked.from.as_deref());
        let (mut found, mut unseen) = (Vec::new(), Vec::new());
        for place in others {
            match backups::catalogue(self.database, place).and_then(|there| named(&there)) {
                Ok(backup) if backup.is_good() && than.is_none_or(|than| age(&backup) > age(than)) => {
                    found.push(Found { backup, place });
                }
                Ok(_) => {}
                Err(error) if error.reason == Reason::NotFound => {}
                Err(error) => {
                    let place =
                        place.map_or_else(|| String::from("backup.dir"), |copy| format!("the copy {copy}"));
                    unseen.push(format!("{place} could not be looked at: {error}"));
                }
            }
        }
        // Of several that have the same one the first that is configured.
        found.sort_by_key(|found| Reverse(age(&found.backup)));
        (found.into_iter().next(), unseen)
    }

    fn command(&self, found: &Found<'_>) -> String {
        let mut command = String::from("litekeeper");
        let mut add = |word: &str| {
            command.push(' ');
            command.push_str(word);
        };
        if self.configuration != Path::new(DEFAULT_PATH) {
            let path = std::path::absolute(self.configuration);
            add("--config");
            add(&quoted(path.as_deref().unwrap_or(self.configuration)));
        }
        for word in ["restore", &self.database.name, stem(&found.backup)] {
            add(word);
        }
        if let Some(copy) = found.place {
            add("--from");
            add(&quoted(Path::new(copy)));
        }
        if self.asked.in_place {
            add("--in-place");
        } else {
            add("--to");
            add(&quoted(self.to));
        }
        for (flag, is_given) in
            [("--accept-unseen", self.asked.accept_unseen), ("--full-check", self.asked.full_check)]
        {
            if is_given {
                add(flag);
            }
        }
        command
    }
}

/// Newer is what was made later; without a manifest none is good.
fn age(backup: &Backup) -> (Option<u64>, chrono::DateTime<chrono::Utc>) {
    (backup.manifest.as_ref().map(|manifest| manifest.sequence), backup.time)
}

/// Enough to name it by.
fn stem(backup: &Backup) -> &str {
    backup.name.split('.').next().unwrap_or(&backup.name)
}
