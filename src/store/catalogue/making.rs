//! A backup made: its pages packed, its files put into the place in their order, and read back.
//! What a run left that was killed is seen to first.

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::Catalogue;
use super::backup::{Backup, BackupOutcome, NewBackup, State};
use super::manifest::{Manifest, ManifestParts, Snapshot};
use super::name::BackupName;
use crate::clock;
use crate::config::Compression;
use crate::error::{Class, Error, Reason, Result};
use crate::store::codec::{self, Compressor, Encoding, Sums};
use crate::store::files::{Content, Entry, Lock, Put};
use crate::store::pace::PacedWriter;
use crate::terms::progress::Watch;

/// A manifest without its file is left over when it is older than this.
const LEFT_OVER_AFTER: TimeDelta = TimeDelta::days(1);

impl Catalogue {
    /// What is to be done before a backup is made, and takes its time: leftovers are removed, and
    /// backups of runs that were killed are read back. To be called where nobody else makes a
    /// backup of this database.
    pub fn prepare(&self, watch: &dyn Watch) -> Result<()> {
        self.sweep()?;
        self.confirm_left_over(None, watch)
    }

    /// Makes a backup begun at `started`: `write` writes the pages and says what it saw. The stored
    /// file is read back before it counts. On any error nothing is left, but for one while it is
    /// read back, which the next run does again; one that `watch` has ends the work within a
    /// moment. Where a backup of that second exists, the name takes the next free second. Nothing
    /// is made where the pages are those that `unless` holds.
    pub fn add(
        &self,
        started: DateTime<Utc>,
        encoding: Encoding,
        unless: Option<Backup>,
        watch: &dyn Watch,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<Snapshot>,
    ) -> Result<BackupOutcome> {
        let name = self.free_name(started, encoding.compression)?;
        let file = name.file();
        let mut made: Option<(Manifest, Lock)> = None;
        let put = self.store.put(&file, &mut |out| {
            let (snapshot, sums) = pack(&file, out, encoding, watch, write)?;
            let known = unless.as_ref().and_then(|known| known.manifest.as_ref());
            if known.is_some_and(|known| known.holds(&sums.raw)) {
                return Ok(Content::Same);
            }
            // Others wait for the lock below, not for a slow place.
            out.flush().map_err(|e| Error::io(format!("cannot write {file}"), &e))?;
            // Until the file has its name: nobody must take the manifest for a leftover, nor its
            // number.
            let edit = self.store.edit()?;
            self.check_free(&name)?;
            let sequence = next_sequence(&self.list()?, started);
            let written = ManifestParts {
                database: &self.database,
                file: &file,
                sequence,
                started,
                finished: clock::now(),
                compression: encoding.compression,
                raw: sums.raw,
                stored: sums.stored,
            };
            let manifest = Manifest::new(snapshot, written);
            let json = manifest.to_json()?;
            made = Some((manifest, edit));
            self.store.replace(&name.manifest(), &json)?;
            Ok(Content::New)
        });
        match (put, made) {
            (Ok(Put::Same), _) => unless.map(BackupOutcome::Same).ok_or_else(|| self.without_content(&file)),
            (Ok(Put::Made(size)), Some((manifest, edit))) => {
                let state = State::Unconfirmed;
                let backup = Backup { name: file, time: name.time, size, state, manifest: Some(manifest) };
                let began = Instant::now();
                let confirmed = self.hold(&backup).and_then(|held| {
                    // Only now may others look for backups that a killed run left.
                    drop(edit);
                    self.confirm(&backup, &held, watch)
                });
                let read_back = began.elapsed();
                confirmed.map(|backup| BackupOutcome::Made(NewBackup { backup, read_back })).map_err(
                    |error| {
                        if error.class() == Class::Cancelled {
                            return error
                                .context(format!("{} was not read back; the next run does it", backup.name));
                        }
                        match self.discard(&backup) {
                            Ok(()) => error,
                            // It still does not count.
                            Err(left) => {
                                error.context(format!("{} could not be removed ({left})", backup.name))
                            }
                        }
                    },
                )
            }
            (Ok(Put::Made(_)), None) => Err(self.without_content(&file)),
            (Err(e), made) => {
                if made.is_some() {
                    // If even that fails, a later run sweeps it away.
                    let _ = self.store.delete(&name.manifest());
                }
                Err(e)
            }
        }
    }

    fn without_content(&self, file: &str) -> Error {
        Error::new(Reason::Io, format!("{} made {file} without its content", self.store.place()))
    }

    /// Removes manifests whose file is not there: a run was killed while it made or removed a
    /// backup. Not the young ones, whose file may be on its way from elsewhere.
    fn sweep(&self) -> Result<()> {
        let _edit = self.store.edit()?;
        let entries = self.store.list()?;
        let names: HashSet<&str> = entries.iter().map(|e| e.name.as_str()).collect();
        for entry in entries.iter().filter(|e| is_old(e)) {
            let Some(stem) = entry.name.strip_suffix(".json") else { continue };
            let files = Compression::ALL.map(|packed| format!("{stem}.sqlite{}", codec::suffix(packed)));
            let is_ours = BackupName::parse(&files[0], &self.database).is_some();
            if is_ours && !files.iter().any(|file| names.contains(file.as_str())) {
                self.store.delete(&entry.name)?;
            }
        }
        Ok(())
    }
}

/// Whether its last change is long ago, or was under a clock that was far ahead.
fn is_old(file: &Entry) -> bool {
    (clock::now() - file.modified).abs() > LEFT_OVER_AFTER
}

/// One more than the highest there is, and no less than the time: a directory that begins anew must
/// not fall behind copies elsewhere, which have the old numbers. A manifest that cannot be read now
/// may have the highest: numbers are left free for it, so that no two backups have the same, of
/// which the wrong one might be taken for the newer.
fn next_sequence(backups: &[Backup], started: DateTime<Utc>) -> u64 {
    let highest = backups.iter().filter_map(|b| b.manifest.as_ref()).map(|m| m.sequence).max();
    let hidden = backups.iter().filter(|b| b.manifest.is_none()).count() as u64;
    let next = highest.unwrap_or(0).saturating_add(hidden).saturating_add(1);
    next.max(u64::try_from(started.timestamp()).unwrap_or(0))
}

/// Packs what `write` writes, at the pace that is allowed.
fn pack(
    file: &str,
    out: &mut dyn Write,
    encoding: Encoding,
    watch: &dyn Watch,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<Snapshot>,
) -> Result<(Snapshot, Sums)> {
    let failed = |e: io::Error| Error::io(format!("cannot write {file}"), &e);
    let mut stopped = None;
    let packed = Compressor::new(PacedWriter::new(out, encoding.max_rate, watch, &mut stopped), encoding);
    let done = packed.map_err(failed).and_then(|mut packed| {
        let snapshot = write(&mut packed)?;
        Ok((snapshot, packed.finish().map_err(failed)?))
    });
    done.map_err(|error| stopped.unwrap_or(error))
}
