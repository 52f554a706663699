//! Backups as a user meets them: files, manifests, and a restored database.

use super::sandbox::Sandbox;
use litekeeper::store::{Catalogue, Local, restore};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// The directory of the database's backups.
pub fn directory(sandbox: &Sandbox) -> PathBuf {
    sandbox.backups().join("attendance")
}

/// The names in it that are not hidden, sorted.
pub fn files(sandbox: &Sandbox) -> Vec<String> {
    all(sandbox).into_iter().filter(|name| !name.starts_with('.')).collect()
}

/// What an unfinished run would leave.
pub fn unfinished(sandbox: &Sandbox) -> Vec<String> {
    all(sandbox).into_iter().filter(|name| name.starts_with('.') && name != ".lock").collect()
}

fn all(sandbox: &Sandbox) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory(sandbox)) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes of everything in it, hidden or not: how far a run has got.
pub fn bytes_in_directory(sandbox: &Sandbox) -> u64 {
    let Ok(entries) = fs::read_dir(directory(sandbox)) else { return 0 };
    // A file may be gone between its listing and our look at it.
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

/// The manifests, by the order of making. One that a rotation removes meanwhile is none of them.
pub fn manifests(sandbox: &Sandbox) -> Vec<Value> {
    let names =
        files(sandbox).into_iter().filter(|name| Path::new(name).extension().is_some_and(|e| e == "json"));
    let mut all: Vec<Value> = names.filter_map(|name| manifest(sandbox, &name)).collect();
    all.sort_by_key(|manifest| manifest["sequence"].as_u64());
    all
}

fn manifest(sandbox: &Sandbox, name: &str) -> Option<Value> {
    match fs::read(directory(sandbox).join(name)) {
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        bytes => Some(serde_json::from_slice(&bytes.unwrap()).unwrap()),
    }
}

/// The backup's file of a manifest.
pub fn file(sandbox: &Sandbox, manifest: &Value) -> PathBuf {
    directory(sandbox).join(manifest["file"].as_str().unwrap())
}

pub fn catalogue(sandbox: &Sandbox) -> Catalogue {
    Catalogue::new("attendance", Arc::new(Local::open(&sandbox.backups(), "attendance").unwrap()))
}

/// Restores by litekeeper's own code.
pub fn restored(sandbox: &Sandbox, name: &str, target: &Path) -> litekeeper::error::Result<u64> {
    let catalogue = catalogue(sandbox);
    restore::restore(&catalogue, &catalogue.find(name)?, target, &|| Ok(()), &|_| Ok(()))
}

/// Restores with gunzip alone.
pub fn gunzipped(backup: &Path, target: &Path) {
    let out = fs::File::create(target).unwrap();
    let status = Command::new("gunzip").arg("--stdout").arg(backup).stdout(out).status().unwrap();
    assert!(status.success(), "gunzip refuses {}", backup.display());
}

/// What coreutils' sha256sum says.
pub fn sha256sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}
