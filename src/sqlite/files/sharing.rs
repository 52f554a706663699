//! The commands by which an application and litekeeper come to share a database as two users of one
//! group: the database, what lies beside it now, and what SQLite will make there. Only words; must
//! never change a file, nor propose a group that has root's rights.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::paths::{SIDECARS, sidecar};
use crate::commands::{self, all_quoted, quoted};
use crate::rights::{self, Member, unit};

/// Read and write for the group.
pub(super) const GROUP_RW: u32 = 0o060;

/// What lets the group make files in a directory, and gives them to the group.
const SHARED: u32 = 0o2070;

/// Which group is to share it.
enum Group {
    /// One that there is.
    Known(u32),
    /// One that is to be made, and its name.
    New(String),
}

/// What to do so that the owner of `file` and this process can both write it, what is beside it, and
/// what either makes there, as a part of a sentence. SQLite gives a new `-wal`, `-shm` or `-journal`
/// the mode of the database, and the directory with the setgid bit its group.
pub(super) fn remedy(path: &Path, file: &Metadata, parent: &Metadata) -> String {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let group = group(directory, file, parent);
    let is_of = |gid: u32| matches!(group, Group::Known(shared) if shared == gid);
    if parent.uid() == 0 && file.uid() != 0 && !is_of(parent.gid()) {
        return format!(
            "{} is the system's and not shared with others for one file: move the database into a directory of its own, \
             which user {} owns, and check again",
            directory.display(),
            rights::user(file.uid())
        );
    }
    let name = match &group {
        Group::Known(gid) => rights::group(*gid),
        Group::New(name) => name.clone(),
    };
    let mut steps = Vec::new();
    if matches!(group, Group::New(_)) && !rights::is_group(&name) {
        steps.push(format!("groupadd --system {name}"));
    }
    let files = present(path, file);
    let other_group: Vec<&Path> =
        files.iter().filter(|(_, found)| !is_of(found.gid())).map(|(path, _)| path.as_path()).collect();
    let to_give = (!is_of(parent.gid())).then_some(directory).into_iter().chain(other_group);
    let to_give = all_quoted(to_give);
    if !to_give.is_empty() {
        steps.push(format!("chgrp {name} {to_give}"));
    }
    let closed = files.iter().filter(|(_, found)| found.mode() & GROUP_RW != GROUP_RW);
    let closed = all_quoted(closed.map(|(path, _)| path.as_path()));
    if !closed.is_empty() {
        steps.push(format!("chmod g+rw {closed}"));
    }
    if parent.mode() & SHARED != SHARED || !is_of(parent.gid()) {
        steps.push(format!("chmod g+rwxs {}", quoted(directory)));
    }
    steps.extend(joining(&group, &name, file.uid()));
    format!("share a group: {}", steps.join("; "))
}

/// Never root's: who is in it may write what belongs to the system.
fn group(directory: &Path, file: &Metadata, parent: &Metadata) -> Group {
    let is_shared = parent.mode() & SHARED == SHARED;
    match (file.gid(), parent.gid()) {
        (0, 0) => {}
        (0, of_directory) if is_shared => return Group::Known(of_directory),
        (0, _) => {}
        (own, _) => return Group::Known(own),
    }
    let called: String = match file.uid() {
        0 => directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        owner => rights::user(owner),
    };
    // As groupadd(8) takes it.
    let plain = called.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
    let begins = plain.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    let short: String = begins.chars().take(24).collect();
    Group::New(format!("{}-data", if short.is_empty() { "litekeeper" } else { &short }))
}

/// The database and what is beside it now.
fn present(path: &Path, file: &Metadata) -> Vec<(PathBuf, Metadata)> {
    let beside = SIDECARS.map(|suffix| sidecar(path, suffix));
    let beside = beside.into_iter().filter_map(|name| Some((name.clone(), name.metadata().ok()?)));
    std::iter::once((path.to_owned(), file.clone())).chain(beside).collect()
}

/// How both get into the group: the daemon by its unit where it has one, so that nothing but the
/// daemon has the right.
fn joining(group: &Group, name: &str, owner: u32) -> Vec<String> {
    let us = rustix::process::geteuid().as_raw();
    let lacks = |member: Member| match group {
        Group::Known(gid) => !member.is_in(*gid),
        Group::New(_) => true,
    };
    let mut steps = Vec::new();
    if owner != 0 && lacks(Member::User(owner)) {
        steps.push(format!("{}; then start the application again", joins(owner, name)));
    }
    if us != 0 && lacks(Member::Us) {
        steps.push(match unit::own() {
            Some(unit) => unit::drop_in(&unit, &[("SupplementaryGroups", Path::new(name))]),
            None => format!("{}; then start litekeeper again", joins(us, name)),
        });
    }
    steps
}

fn joins(uid: u32, group: &str) -> String {
    let user = rights::user(uid);
    if user.parse() == Ok(uid) {
        return format!("# user {user} has no name here: let it run with the group {group}");
    }
    format!("usermod -aG {} {}", commands::word(group), commands::word(&user))
}
