//! A backup brought from one place to another as it is, and what is missing in the other. Must
//! never make a copy of what is not known to be good, nor leave half of one.

use std::collections::HashSet;
use std::io::{Read as _, Write};

use chrono_tz::Tz;

use super::Catalogue;
use super::backup::{Backup, State};
use super::manifest::Manifest;
use super::name::BackupName;
use super::rotation::{self, Candidate};
use crate::config::Keep;
use crate::error::{Error, Reason, Result};
use crate::store::codec::hash::Hasher;
use crate::store::codec::read_error;
use crate::store::files::Content;
use crate::terms::progress::{Unit, Watch};

/// Bytes passed on at a time.
const CHUNK: usize = 1 << 20;

impl Catalogue {
    /// The good backups of `source` that are not here and that rotation would keep if they were,
    /// the newest first.
    pub fn missing_from(&self, source: &Self, keep: &Keep, zone: Tz) -> Result<Vec<Backup>> {
        // One that is damaged here, or has lost its manifest, is brought again. Of one that has lost
        // its file nothing is listed.
        let is_here = |backup: &Backup| !matches!(backup.state, State::Damaged(_) | State::Incomplete);
        let here: Vec<Backup> = self.list()?.into_iter().filter(is_here).collect();
        let names: HashSet<&str> = here.iter().map(|backup| backup.name.as_str()).collect();
        let there: Vec<Backup> = source.list()?.into_iter().filter(Backup::is_good).collect();
        if let Some(other) = there.iter().find(|backup| here.iter().any(|same| is_another(same, backup))) {
            let text = format!(
                "{} in {} is another backup of that name; give each machine a place of its own",
                other.name,
                self.place()
            );
            return Err(Error::new(Reason::Refused, text));
        }
        let missing: Vec<Backup> =
            there.into_iter().filter(|backup| !names.contains(backup.name.as_str())).collect();
        let candidate =
            |backup: &Backup| Candidate { pinned: false, verified: false, ..Candidate::new(backup, false) };
        let all: Vec<Candidate> = missing
            .iter()
            .map(candidate)
            .chain(here.iter().map(|backup| Candidate::new(backup, false)))
            .collect();
        let decisions = rotation::plan(&all, keep, zone);
        Ok(missing
            .into_iter()
            .zip(decisions)
            .filter(|(_, decision)| decision.keep)
            .map(|(backup, _)| backup)
            .collect())
    }

    /// Notes of the newest backup here until when it is known to be current, where `source` has it
    /// too and knows better.
    pub fn note_what_is_current(&self, source: &Self) -> Result<()> {
        let (Some(here), Some(there)) = (self.latest()?, source.latest()?) else { return Ok(()) };
        let until = |backup: &Backup| backup.manifest.as_ref().and_then(|m| m.current_until);
        match until(&there) {
            Some(known) if here.name == there.name && until(&here) != Some(known) => {
                self.current(&here, known).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Brings a backup of `source` here: its file, compared with its manifest on the way, and the
    /// manifest. A backup that turns out to be damaged is marked as that. What is left here of an
    /// earlier copy, a file or a manifest alone, is completed or replaced.
    ///
    /// The copy counts as not verified: nobody has restored it yet. It is pinned where the one that
    /// it replaces was.
    pub fn bring(&self, source: &Self, backup: &Backup, watch: &dyn Watch) -> Result<()> {
        let (Some(manifest), Some(name)) =
            (&backup.manifest, BackupName::parse(&backup.name, &self.database))
        else {
            let text = format!("{} has no manifest, without which it is not copied", backup.name);
            return Err(Error::new(Reason::Refused, text));
        };
        let copy = Manifest { verification: None, pinned: false, unconfirmed: true, ..manifest.clone() };
        let mut pinned = false;
        if let Some(useless) = self.one(&backup.name)? {
            if useless.state == State::Incomplete && self.completed(&useless, &name, &copy, watch)? {
                return Ok(());
            }
            pinned = useless.is_pinned();
            if self.one(&backup.name)?.is_some() {
                self.make_way(&useless)?;
            }
        }
        // Said before the work, not after it.
        self.manifest_alone(&name, manifest)?;
        let _held = source.hold(backup)?;
        let mut begun = None;
        let put = self.store.put(&backup.name, &mut |out| {
            pass_on(source, backup, manifest, out, watch)?;
            // Others wait for the lock, not for the network.
            out.flush().map_err(|e| Error::io(format!("cannot copy {}", backup.name), &e))?;
            // As when a backup is made: the manifest first, so that a file with a name has one.
            let edit = self.store.edit()?;
            let left = self.manifest_alone(&name, manifest)?;
            if left.is_none() {
                self.check_free(&name)?;
            }
            begun = Some(edit);
            let pinned = pinned || left.flatten().is_some_and(|left| left.pinned);
            self.store.replace(&name.manifest(), &Manifest { pinned, ..copy.clone() }.to_json()?)?;
            Ok(Content::New)
        });
        put.map_err(|error| {
            if begun.is_some() {
                // If even that fails, a later run sweeps it away.
                let _ = self.store.delete(&name.manifest());
            }
            marked(source, backup, error)
        })?;
        drop(begun);
        // As when a backup is made: it counts when it was read back.
        self.confirm_left_over(Some(&backup.name), watch)?;
        let (name, place) = (&backup.name, self.place());
        match self.one(name)?.map(|here| here.state) {
            Some(State::Good) => Ok(()),
            Some(State::Unconfirmed) => Err(not_read_back(name, &place)),
            _ => {
                let text =
                    format!("{name} did not read back from {place} as it was written; check what it lies on");
                Err(Error::new(Reason::Damaged, text))
            }
        }
    }

    /// Gives a file that is here without its manifest the one of `copy`, where it is the file that
    /// `copy` describes: it need not come over the network again. `false`: it is not; it is still
    /// there, or was found out by reading and removed.
    fn completed(
        &self,
        file: &Backup,
        name: &BackupName,
        copy: &Manifest,
        watch: &dyn Watch,
    ) -> Result<bool> {
        if file.size != copy.stored_bytes {
            return Ok(false);
        }
        {
            let _edit = self.store.edit()?;
            if self.again(file)? != *file {
                return Err(changed(&file.name));
            }
            self.store.replace(&name.manifest(), &copy.to_json()?)?;
        }
        self.confirm_left_over(Some(&file.name), watch)?;
        match self.one(&file.name)?.map(|here| here.state) {
            Some(State::Good) => Ok(true),
            None => Ok(false),
            Some(State::Unconfirmed) => Err(not_read_back(&file.name, &self.place())),
            Some(_) => Err(changed(&file.name)),
        }
    }

    /// The manifest of an earlier copy of this backup whose file is gone, which may be replaced:
    /// `Some(None)` where nobody can read it. `None` where there is no manifest without a file.
    ///
    /// Errors: `refused` for the manifest of another backup, whose file may be on its way.
    fn manifest_alone(&self, name: &BackupName, backup: &Manifest) -> Result<Option<Option<Manifest>>> {
        let files = self.store.list()?;
        let Some(entry) = files.iter().find(|file| file.name == name.manifest()) else { return Ok(None) };
        if files.iter().any(|file| file.name != entry.name && name.is_stem_of(&file.name)) {
            return Ok(None);
        }
        match self.manifests.read(&*self.store, entry) {
            Ok(left) if left.stored_sha256 == backup.stored_sha256 => Ok(Some(Some(left))),
            Err(error) if error.reason == Reason::Damaged => Ok(Some(None)),
            Ok(_) => {
                let text = format!(
                    "{} in {} is the manifest of another backup of that name, whose file is not there; give each \
                     machine a place of its own, or remove that manifest",
                    entry.name,
                    self.place()
                );
                Err(Error::new(Reason::Refused, text))
            }
            Err(error) => Err(error),
        }
    }
}

fn not_read_back(name: &str, place: &str) -> Error {
    let text = format!("{name} could not be read back from {place}; the next run tries again");
    Error::new(Reason::Io, text)
}

fn changed(name: &str) -> Error {
    Error::new(
        Reason::Refused,
        format!("{name} was changed by somebody else just now; the next run looks again"),
    )
}

/// Whether two backups of one name hold different things: two machines that were given one place.
fn is_another(here: &Backup, there: &Backup) -> bool {
    let content = |backup: &Backup| backup.manifest.as_ref().map(|m| m.stored_sha256.clone());
    here.name == there.name && content(here).is_some() && content(here) != content(there)
}

fn pass_on(
    source: &Catalogue,
    backup: &Backup,
    manifest: &Manifest,
    out: &mut dyn Write,
    watch: &dyn Watch,
) -> Result<()> {
    let mut file = Hasher::new(source.store.get(&backup.name)?);
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        watch.step(done, backup.size, Unit::Bytes)?;
        let read =
            file.read(&mut buffer).map_err(|e| read_error(format!("cannot copy {}", backup.name), &e))?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).map_err(|e| Error::io(format!("cannot copy {}", backup.name), &e))?;
        done += read as u64;
    }
    let sum = file.sum();
    if (sum.bytes, &sum.sha256) != (manifest.stored_bytes, &manifest.stored_sha256) {
        let text = format!("{} is not the file that its manifest describes; it is not copied", backup.name);
        return Err(Error::new(Reason::Damaged, text));
    }
    Ok(())
}

/// What is found damaged is marked, so that rotation and whoever restores next take it for that.
fn marked(source: &Catalogue, backup: &Backup, error: Error) -> Error {
    if error.reason == Reason::Damaged {
        // Who copies need not be able to write there.
        let _ = source.found_damaged(backup, &error);
    }
    error
}
