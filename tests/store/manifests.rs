//! Manifests that are known are not read again, and what another process changed is seen all the
//! same.

use super::fixture::{Place, at};
use crate::support::disk::Disk;
use crate::support::skip;
use litekeeper::store::{Catalogue, Local, Verification};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

impl Place {
    /// As another process has it, which knows nothing of what this one has read.
    fn of_another(&self) -> Catalogue {
        Catalogue::new("app", Arc::new(Local::open(self.base.path(), "app").unwrap()))
    }
}

/// Of one length, whatever the number.
fn noted(number: u32) -> Verification {
    Verification {
        started: None,
        at: at("2026-11-23T06:00:00"),
        ok: false,
        message: format!("row {number:06}"),
    }
}

#[test]
fn what_another_changed_is_seen_however_often_and_soon_it_was() {
    sees_each_second_change(&Place::new());
}

/// Where two changes in one second leave the same times, and the number of a file that is gone is
/// given to the next.
#[test]
fn so_it_is_where_a_filesystem_counts_whole_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let (image, mount) = (directory.path().join("image"), directory.path().join("mount"));
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    fs::create_dir(&mount).unwrap();
    // Inodes of 128 bytes have no room for parts of a second.
    let made = Command::new("mkfs.ext4").args(["-q", "-F", "-I", "128"]).arg(&image).output();
    if !made.is_ok_and(|made| made.status.success()) {
        return skip("mkfs.ext4 is missing");
    }
    let Some(_disk) = Disk::mount(&mount, &["-o", "loop", image.to_str().unwrap()]) else {
        return skip("only root can mount a filesystem, and only where there are loop devices");
    };
    sees_each_second_change(&Place::below(tempfile::tempdir_in(&mount).unwrap()));
}

fn sees_each_second_change(place: &Place) {
    let backup = place.add("2026-11-23T05:00:00", b"x");
    let another = place.of_another();
    // The file of the change before the last is gone, and its number may be given to the last.
    for change in 0..200 {
        another.verified(&backup, &noted(2 * change)).unwrap();
        another.verified(&backup, &noted(2 * change + 1)).unwrap();
        let listed = place.catalogue.list().unwrap();
        let seen = listed[0].manifest.as_ref().unwrap().verification.as_ref().unwrap();
        assert_eq!(*seen, noted(2 * change + 1));
    }
}

#[test]
fn a_manifest_that_was_written_by_hand_or_is_gone_or_damaged_is_seen() {
    let place = Place::new();
    place.add("2026-11-23T05:00:00", b"x");
    let state = || place.catalogue.list().unwrap()[0].state.to_string();
    assert_eq!(state(), "good");
    let file = place.path("app_20261123T050000Z.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"stored_bytes\": ", "\"stored_bytes\": 1")).unwrap();
    assert!(state().starts_with("damaged: it has"), "{}", state());
    fs::write(&file, "{").unwrap();
    assert!(state().starts_with("damaged: not a manifest"), "{}", state());
    fs::remove_file(&file).unwrap();
    assert_eq!(state(), "incomplete: it has no manifest");
    fs::write(&file, text).unwrap();
    assert_eq!(state(), "good");
}

/// As after a clock was set back, or where a server's is ahead.
#[test]
fn a_manifest_whose_time_is_ahead_is_not_held_open() {
    let place = Place::new();
    place.add("2026-11-23T05:00:00", b"x");
    let file = fs::canonicalize(place.path("app_20261123T050000Z.json")).unwrap();
    let is_open = || {
        let all = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
        all.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|open| open == file)
    };
    let set = |time: SystemTime| fs::File::open(&file).unwrap().set_modified(time).unwrap();
    for (ahead, expected) in [(0, true), (3600, false)] {
        set(SystemTime::now() + Duration::from_secs(ahead));
        let another = place.of_another();
        assert_eq!(another.list().unwrap().len(), 1);
        assert_eq!(is_open(), expected, "{ahead}");
    }
}
