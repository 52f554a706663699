//! Files of backups that were damaged: cut, extended, emptied, overwritten, swapped, bits flipped;
//! data and manifests. Nothing that changes the database in a backup goes unnoticed, and nothing of
//! it is ever put in place.

use crate::scene::{Listed, Scene, said};
use crate::seeds::{below, number};
use crate::support::backups::directory;
use crate::support::daemon::Daemon;
use crate::support::history::{newest, wait_for_run};
use crate::support::soundness::check;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CASES: u64 = 60;

/// What becomes of a file's bytes.
fn damaged(case: u64, original: &[u8]) -> (String, Vec<u8>) {
    let mut bytes = original.to_vec();
    let at = below(case, 1, bytes.len());
    let what = match case % 6 {
        // Bits go most often.
        0 | 1 => {
            let bit = below(case, 2, 8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        2 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        3 => {
            let more = 1 + below(case, 2, 2000);
            bytes.extend((0..more).map(|nth| number(case, 10 + nth as u64).to_le_bytes()[0]));
            format!("{more} bytes more")
        }
        4 => {
            let end = (at + 1 + below(case, 2, 512)).min(bytes.len());
            bytes[at..end].fill(0);
            format!("zeros from {at} to {end}")
        }
        _ => {
            bytes.clear();
            String::from("empty")
        }
    };
    (what, bytes)
}

/// What gunzip makes of a file; `None` where it refuses.
fn gunzipped(bytes: &[u8], scratch: &Path) -> Option<Vec<u8>> {
    let file = scratch.join("to-unpack.gz");
    fs::write(&file, bytes).unwrap();
    let output = Command::new("gunzip").arg("--stdout").arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    output.status.success().then_some(output.stdout)
}

/// Three backups of three states, the oldest first, and their files as they were made.
struct Shelf {
    scene: Scene,
    names: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    raw: Vec<Vec<u8>>,
}

impl Shelf {
    fn new() -> Self {
        let scene = Scene::new();
        scene.application.wait_for_commits(1);
        let names: Vec<String> = scene.listed().into_iter().map(|backup| backup.name).collect();
        let place = directory(&scene.sandbox);
        let all = names.iter().flat_map(|name| [name.clone(), manifest_of(name)]);
        let files: BTreeMap<_, _> =
            all.map(|name| (name.clone(), fs::read(place.join(name)).unwrap())).collect();
        let raw = names.iter().map(|name| gunzipped(&files[name], scene.sandbox.path()).unwrap()).collect();
        Self { scene, names, files, raw }
    }

    fn newest(&self) -> &str {
        self.names.last().unwrap()
    }

    fn place(&self) -> PathBuf {
        directory(&self.scene.sandbox)
    }

    /// All as it was.
    fn mend(&self) {
        for (name, bytes) in &self.files {
            fs::write(self.place().join(name), bytes).unwrap();
        }
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.scene.sandbox.litekeeper(args);
        (output.status.code().expect("killed"), said(&output))
    }

    /// Restores; what there is then, `None` where it was refused. Then there is nothing, not even
    /// half of it.
    fn restore(&self, selector: &str) -> (i32, String, Option<Vec<u8>>) {
        let target = self.scene.sandbox.path().join("to");
        fs::create_dir(&target).unwrap();
        let file = target.join("restored.sqlite");
        let (code, said) = self.run(&["restore", "attendance", selector, "--to", file.to_str().unwrap()]);
        let bytes = fs::read(&file).ok();
        assert_eq!(code == 0, bytes.is_some(), "{said}");
        if bytes.is_some() {
            check(&file).unwrap_or_else(|problem| panic!("{selector} was restored, and {problem}"));
            fs::remove_file(&file).unwrap();
        }
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{said}");
        fs::remove_dir(&target).unwrap();
        (code, said, bytes)
    }

    fn listed(&self, name: &str) -> Listed {
        self.scene.listed().into_iter().find(|backup| backup.name == name).expect("it is not listed")
    }
}

fn manifest_of(name: &str) -> String {
    format!("{}.json", name.split('.').next().unwrap())
}

/// Whatever was done to the newest, `latest` restores to one of the states that were backed up; to
/// an older one where the newest and its manifest do not agree, which may take a first try that
/// finds out.
fn assert_latest_restores(shelf: &Shelf, what: &str) {
    let (mut code, mut said, mut bytes) = shelf.restore("latest");
    if code == 12 && said.contains("counts as damaged from now on") {
        (code, said, bytes) = shelf.restore("latest");
    }
    assert_eq!(code, 0, "{what}: {said}");
    assert!(shelf.raw.contains(&bytes.unwrap()), "{what}: restored to what nobody backed up: {said}");
}

#[test]
fn damage_to_the_data_of_a_backup_is_found_refused_and_passed_over() {
    let shelf = Shelf::new();
    let (newest, older) = (shelf.newest(), &shelf.names[1]);
    // Cases beyond go through the head of the gzip file, byte by byte.
    let mut harmless = Vec::new();
    for case in 0..CASES + 10 {
        let original = &shelf.files[newest];
        let (what, bytes) = match usize::try_from(case.saturating_sub(CASES)).unwrap() {
            _ if case < CASES => damaged(case, original),
            at => {
                let mut bytes = original.clone();
                bytes[at] ^= 1 << below(case, 0, 8);
                (format!("head, byte {at}"), bytes)
            }
        };
        let what = format!("case {case}: {what}");
        fs::write(shelf.place().join(newest), &bytes).unwrap();
        if gunzipped(&bytes, shelf.scene.sandbox.path()).as_ref() == shelf.raw.last() {
            // It unpacks to the same database. Found or not, it is not given out as another one.
            let (code, said) = shelf.run(&["verify", "attendance", newest]);
            assert!(matches!(code, 0 | 12), "{what}: {said}");
            harmless.push(format!("{what}, {}", if code == 0 { "not found" } else { "found" }));
            assert_latest_restores(&shelf, &what);
            shelf.mend();
            continue;
        }
        // Who restores first finds it as well as who verifies first.
        if case % 2 == 0 {
            let (code, said, _) = shelf.restore(newest);
            assert_eq!(code, 12, "{what}: {said}");
            assert!(said.contains(newest), "{what}: {said}");
        }
        let (code, said) = shelf.run(&["verify", "attendance", newest]);
        assert_eq!(code, 12, "{what}: {said}");
        assert!(said.contains(newest), "{what}: {said}");
        let (code, said, _) = shelf.restore(newest);
        assert_eq!(code, 12, "{what}: {said}");
        assert_eq!(shelf.listed(newest).state, "damaged", "{what}");
        let (_, said, bytes) = shelf.restore("latest");
        assert!(bytes.as_ref() == Some(&shelf.raw[1]), "{what}: {said}");
        assert!(said.contains("passed over") && said.contains(newest), "{what}: {said}");
        // Rotation does not count it: the newest good one is the one before.
        assert!(shelf.listed(older).keep, "{what}");
        shelf.mend();
    }
    println!("unpacks to the same: {harmless:#?}");
    shelf.scene.end();
}

#[test]
fn damage_to_a_manifest_makes_no_good_backup_unrestorable() {
    let shelf = Shelf::new();
    let newest = shelf.newest();
    let manifest = shelf.place().join(manifest_of(newest));
    let mut states = BTreeMap::new();
    for case in 0..CASES {
        let (what, bytes) = damaged(case, &shelf.files[&manifest_of(newest)]);
        let what = format!("case {case}: {what}");
        fs::write(&manifest, &bytes).unwrap();
        assert_latest_restores(&shelf, &what);
        let (code, said) = shelf.run(&["verify", "attendance"]);
        assert!(matches!(code, 0 | 12), "{what}: {said}");
        assert_latest_restores(&shelf, &what);
        // The data is whole, whatever its manifest says: it stays, and gunzip restores it.
        let listed = shelf.listed(newest);
        assert!(listed.keep, "{what}: {listed:?}");
        assert!(fs::read(shelf.place().join(newest)).unwrap() == shelf.files[newest], "{what}");
        *states.entry(listed.state).or_insert(0) += 1;
        shelf.mend();
    }
    println!("{states:?}");
    shelf.scene.end();
}

#[test]
fn a_backup_whose_manifest_cannot_be_read_is_not_removed_by_the_next() {
    let mut shelf = Shelf::new();
    let newest = shelf.newest().to_owned();
    for bytes in [&b""[..], b"{", &[0; 800]] {
        fs::write(shelf.place().join(manifest_of(&newest)), bytes).unwrap();
        let (code, said) = shelf.run(&["backup", "attendance"]);
        assert_eq!(code, 0, "{said}");
        assert!(
            fs::read(shelf.place().join(&newest)).is_ok_and(|data| data == shelf.files[&newest]),
            "a backup that gunzip restores is gone: {said}"
        );
    }
    shelf.names.clear();
    shelf.scene.end();
}

/// Where nothing has changed since the newest, no new one may be needed; but it is where that one
/// is known to be damaged.
#[test]
fn a_damaged_newest_backup_is_made_again_even_if_nothing_has_changed_since() {
    let mut shelf = Shelf::new();
    shelf.scene.application.pause();
    let newest = shelf.scene.backup_of_what_there_is();
    let file = shelf.place().join(&newest);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    fs::write(&file, bytes).unwrap();
    let (code, said) = shelf.run(&["verify", "attendance"]);
    assert_eq!(code, 12, "{said}");
    let again = shelf.scene.backup_of_what_there_is();
    assert_ne!(again, newest);
    shelf.scene.prove(&again);
    shelf.scene.end();
}

#[test]
fn backups_that_were_swapped_are_found() {
    let shelf = Shelf::new();
    let (newest, older) = (shelf.newest(), shelf.names[1].as_str());
    // Data for data, manifest for manifest.
    for suffix in [|name: &str| name.to_owned(), manifest_of] {
        let (a, b) = (suffix(newest), suffix(older));
        fs::write(shelf.place().join(&a), &shelf.files[&b]).unwrap();
        fs::write(shelf.place().join(&b), &shelf.files[&a]).unwrap();
        for name in [newest, older] {
            let (code, said) = shelf.run(&["verify", "attendance", name]);
            assert_eq!(code, 12, "{a} and {b}: {said}");
            assert_eq!(shelf.listed(name).state, "damaged", "{a} and {b}");
        }
        let (_, said, bytes) = shelf.restore("latest");
        assert!(bytes.as_ref() == Some(&shelf.raw[0]), "{a} and {b}: {said}");
        shelf.mend();
    }
    shelf.scene.end();
}

#[test]
fn the_metrics_tell_of_a_damaged_backup() {
    let shelf = Shelf::new();
    let newest_backup = shelf.newest();
    let mut bytes = shelf.files[newest_backup].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(shelf.place().join(newest_backup), bytes).unwrap();
    let after = newest(&shelf.scene.sandbox);
    let verify = "[backup]\nkeep_last = 3\n[verify]\nschedule = \"* * * * * *\"\ncatch_up = false\n";
    let daemon = Daemon::start(&shelf.scene.sandbox.configure(verify));
    let backups = [("database", "attendance")];
    let run = wait_for_run(&shelf.scene.sandbox, "verify", after, "failure");
    assert_eq!(run.reason, "damaged", "{run:?}");
    assert!(run.summary.contains(newest_backup), "{run:?}");
    let failures = [("database", "attendance"), ("task", "verify"), ("outcome", "failure")];
    daemon.wait_for_metrics("it counts no more", |metrics| {
        let failed = metrics.get("litekeeper_job_runs_total", &failures)?;
        (metrics.get("litekeeper_backups", &backups) == Some(2.0) && failed >= 1.0).then_some(())
    });
    assert!(daemon.stop().success());
    shelf.scene.end();
}
