//! The backups of one database, in a real directory.

use super::fixture::{GZIP, PLAIN, Place, ZSTD, at, snapshot, x};
use super::read_all;
use litekeeper::config::Keep;
use litekeeper::error::{Error, Reason};
use litekeeper::store::codec::read_error;
use litekeeper::store::rotation::{Candidate, plan};
use litekeeper::store::{BackupName, Catalogue, Local, Manifest, Snapshot, State, Verification};
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;

#[test]
fn a_backup_is_a_gzip_file_and_a_manifest_that_says_what_is_in_it() {
    let place = Place::new();
    let content = b"pages ".repeat(500_000);
    let made = place.add("2026-11-23T05:00:07.9", &content);
    assert_eq!(made.name, "app_20261123T050007Z.sqlite.gz");
    assert_eq!(made.time, at("2026-11-23T05:00:07"));
    assert_eq!(place.catalogue.list().unwrap(), std::slice::from_ref(&made));
    assert_eq!(place.files(), ["app_20261123T050007Z.json", "app_20261123T050007Z.sqlite.gz"]);

    // By other people's tools.
    let said = |command: &str| {
        let output =
            Command::new("sh").args(["-c", command, "sh"]).arg(place.path(&made.name)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("app_20261123T050007Z.json")).unwrap()).unwrap();
    assert_eq!(json["stored_sha256"], said("sha256sum \"$1\""));
    assert_eq!(json["raw_sha256"], said("gunzip -c \"$1\" | sha256sum"));
    assert_eq!(json["stored_bytes"].to_string(), said("stat -c %s \"$1\""));
    assert_eq!(json["raw_bytes"], content.len());
    // The first: no less than the time, so that it is newer than what copies elsewhere hold of a
    // lost directory.
    let seconds = at("2026-11-23T05:00:07.9").timestamp();
    assert_eq!(
        (&json["format"], &json["database"], &json["file"], &json["sequence"], &json["compression"]),
        (&1.into(), &"app".into(), &made.name.clone().into(), &seconds.into(), &"gzip".into())
    );
    assert_eq!(
        (&json["source"], &json["page_size"], &json["page_count"]),
        (&"/srv/app.sqlite".into(), &4096.into(), &3.into())
    );
    assert_eq!((&json["user_version"], &json["application_id"]), (&7.into(), &(-1).into()));
    assert_eq!(json["tables"], serde_json::json!({"big": null, "users": 5}));
    assert_eq!((&json["verification"], &json["pinned"]), (&serde_json::Value::Null, &false.into()));
    assert_eq!(json["started"], "2026-11-23T05:00:07.900Z");
    assert!(
        json["finished"].is_string() && json["sqlite_version"] == "3.53.2" && json["schema_sha256"] == "00"
    );

    assert!(read_all(place.catalogue.read(&made).unwrap()) == content);
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let place = Place::new();
    let failed = place.catalogue.add(at("2026-11-23T05:00:00"), GZIP, None, &|| Ok(()), &mut |out| {
        out.write_all(&super::noise(3_000_000)).unwrap();
        Err(Error::new(Reason::Cancelled, "told to stop"))
    });
    assert_eq!(failed.unwrap_err().reason, Reason::Cancelled);
    assert!(place.files().is_empty());
}

#[test]
fn two_of_one_second_get_two_names_whatever_their_suffix() {
    let place = Place::new();
    place.add("2026-11-23T05:00:59", b"1");
    assert_eq!(place.add("2026-11-23T05:00:59.5", b"2").name, "app_20261123T050100Z.sqlite.gz");
    let third = place.add_as("2026-11-23T05:00:59", b"3", PLAIN);
    assert_eq!(third.name, "app_20261123T050101Z.sqlite");
    assert_eq!(fs::read(place.path(&third.name)).unwrap(), b"3");
    let fourth = place.add_as("2026-11-23T05:00:59", b"4", ZSTD);
    assert_eq!(fourth.name, "app_20261123T050102Z.sqlite.zst");
    assert_eq!(fourth.manifest.as_ref().unwrap().compression, "zstd");
    assert!(read_all(place.catalogue.read(&fourth).unwrap()) == b"4");
    assert_eq!(place.catalogue.latest().unwrap(), Some(fourth));
    assert_eq!(place.files().len(), 8);
}

/// A copy elsewhere may still have a backup of the name that was removed here.
#[test]
fn a_name_that_became_free_is_not_given_again_while_later_ones_are_ahead_of_the_time() {
    let place = Place::new();
    let now = "2026-11-23T05:00:59";
    let all: Vec<_> = [b"1", b"2", b"3"].map(|data| place.add(now, data)).into();
    place.catalogue.remove(&all[1]).unwrap();
    assert_eq!(place.add(now, b"4").name, "app_20261123T050102Z.sqlite.gz");
    assert_eq!(place.add("2026-11-23T05:01:01", b"5").name, "app_20261123T050103Z.sqlite.gz");
    assert_eq!(
        place.add("2026-11-23T04:59:59", b"6").name,
        "app_20261123T045959Z.sqlite.gz",
        "the clock was set back"
    );
}

#[test]
fn takes_no_other_file_for_a_backup() {
    let place = Place::new();
    for name in [
        "app.sqlite",
        "app_20261123T050000Z",
        "app_20261123T050000Z.json",
        "app_20261123T050000Z.sqlite.gz.part",
        "app_20261123T050000Z.sqlite.zstd",
        "app_20261123T050000.sqlite.gz",
        "app_20261323T050000Z.sqlite.gz",
        "app_2026-11-23T05:00:00Z.sqlite.gz",
        "app_+2026112T050000Z.sqlite.gz",
        "app_2_20261123T050000Z.sqlite.gz",
        "other_20261123T050000Z.sqlite.gz",
        "xapp_20261123T050000Z.sqlite.gz",
        "README",
    ] {
        fs::write(place.path(name), "mine").unwrap();
        assert_eq!(BackupName::parse(name, "app"), None, "{name}");
    }
    assert!(place.listed().is_empty());
}

#[test]
fn only_a_whole_one_with_its_manifest_counts() {
    let place = Place::new();
    let names: Vec<String> =
        (1..=6).map(|n| place.add(&format!("2026-11-23T0{n}:00:00"), b"x").name).collect();
    let json = |n: usize| place.path(&names[n].replace("sqlite.gz", "json"));
    fs::remove_file(json(1)).unwrap();
    fs::write(place.path(&names[2]), "short").unwrap();
    fs::write(json(3), "{\"format\": 1, \"data").unwrap();
    fs::write(json(4), "{\"format\": 2, \"everything\": \"else\"}").unwrap();
    fs::copy(json(0), json(5)).unwrap();

    let listed = place.catalogue.list().unwrap();
    let states: Vec<String> = listed.iter().rev().map(|b| b.state.to_string()).collect();
    assert_eq!(states[0], "good");
    assert_eq!(states[1], "incomplete: it has no manifest");
    assert!(states[2].starts_with("damaged: it has 5 bytes, not "), "{}", states[2]);
    assert!(states[3].starts_with("damaged: not a manifest: "), "{}", states[3]);
    assert!(
        states[4].starts_with("unknown: the manifest has format 2, this litekeeper reads up to 1"),
        "{}",
        states[4]
    );
    assert_eq!(states[5], format!("damaged: its manifest is that of {}", names[0]));
    assert_eq!(place.catalogue.latest().unwrap().unwrap().name, names[0]);
}

#[test]
fn reads_a_manifest_with_fields_that_it_does_not_know() {
    let place = Place::new();
    let name = place.add("2026-11-23T05:00:00", b"x").name.replace("sqlite.gz", "json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(place.path(&name)).unwrap()).unwrap();
    json["of_a_later_version"] = true.into();
    fs::write(place.path(&name), json.to_string()).unwrap();
    assert_eq!(place.listed(), [("app_20261123T050000Z.sqlite.gz".to_owned(), true)]);
    let newer = Manifest::parse(b"{\"format\": 2}").unwrap_err();
    assert_eq!(newer.reason, Reason::Unsupported);
}

#[test]
fn finds_by_name_by_time_and_says_what_is_ambiguous() {
    let place = Place::new();
    for time in ["2026-11-22T05:00:00", "2026-11-23T05:00:00", "2026-11-23T06:00:00"] {
        place.add(time, b"x");
    }
    let find =
        |selector: &str| place.catalogue.find(selector).map(|b| b.name[4..12].to_owned() + &b.name[12..20]);
    assert_eq!(find("latest").unwrap(), "20261123T060000Z");
    assert_eq!(find("app_20261122T050000Z.sqlite.gz").unwrap(), "20261122T050000Z");
    assert_eq!(find("app_20261122T050000Z").unwrap(), "20261122T050000Z");
    assert_eq!(find("20261123T05").unwrap(), "20261123T050000Z");
    assert_eq!(find("2026-11-22").unwrap(), "20261122T050000Z");
    assert_eq!(find("2026-11-23 06:00").unwrap(), "20261123T060000Z");
    let error = find("2026-11-23").unwrap_err();
    assert_eq!(error.reason, Reason::NotFound);
    assert!(error.message.contains("any of 2 backups"), "{error}");
    assert!(
        ["T05", "T06"].iter().all(|t| error.message.contains(&format!("app_20261123{t}0000Z.sqlite.gz"))),
        "{error}"
    );
    for nothing in ["", "-", "2027", "app", "../app"] {
        assert_eq!(find(nothing).unwrap_err().reason, Reason::NotFound, "{nothing:?}");
    }

    let before = |time: &str| place.catalogue.at(at(time)).map(|b| b.name[4..20].to_owned());
    assert_eq!(before("2026-11-23T05:59:59").unwrap(), "20261123T050000Z");
    assert_eq!(before("2026-11-23T06:00:00").unwrap(), "20261123T060000Z");
    assert_eq!(before("2026-11-22T04:59:59").unwrap_err().reason, Reason::NotFound);
}

#[test]
fn the_latest_is_the_last_that_was_made_even_after_the_clock_was_set_back() {
    let place = Place::new();
    place.add("2099-01-01T00:00:00", b"x");
    let real = place.add("2026-11-23T05:00:00", b"x");
    assert_eq!(place.catalogue.latest().unwrap(), Some(real));
}

#[test]
fn a_backup_that_was_altered_or_cut_between_two_blocks_does_not_read_to_its_end() {
    let place = Place::new();
    let content = super::noise(3 << 20);
    let made = place.add("2026-11-23T05:00:00", &content);
    let path = place.path(&made.name);
    let whole = fs::read(&path).unwrap();
    // The second member's header: what is before it is a whole gzip file.
    let second =
        (1..whole.len()).find(|&i| i > 1 << 20 && whole[i..].starts_with(&[0x1f, 0x8b, 8, 4])).unwrap();
    fs::write(&path, &whole[..second]).unwrap();
    let mut unpacked = Vec::new();
    let error = place.catalogue.read(&made).unwrap().read_to_end(&mut unpacked).unwrap_err();
    assert_eq!(unpacked.len(), 1 << 20, "the cut is between two blocks");
    assert_eq!(read_error("x", &error).reason, Reason::Damaged);
}

#[test]
fn pins_and_notes_verifications_in_the_manifest() {
    let place = Place::new();
    let made = place.add("2026-11-23T05:00:00", b"x");
    let pinned = place.catalogue.pin(&made, true).unwrap();
    let result =
        Verification { started: None, at: at("2026-11-23T06:00:00"), ok: true, message: String::new() };
    // Noted by someone who saw it before it was pinned: both stay.
    place.catalogue.verified(&made, &result).unwrap();
    let now = &place.catalogue.list().unwrap()[0];
    let manifest = now.manifest.as_ref().unwrap();
    assert!(manifest.pinned && pinned.manifest.unwrap().pinned);
    assert_eq!(manifest.verification.as_ref(), Some(&result));
    assert!(now.is_good());

    let failed = Verification { ok: false, message: "row 5 missing".into(), ..result };
    let bad = place.catalogue.verified(&made, &failed).unwrap();
    assert_eq!(bad.state, State::Damaged("its verification failed: row 5 missing".into()));
    fs::remove_file(place.path("app_20261123T050000Z.json")).unwrap();
    assert_eq!(place.catalogue.pin(&made, false).unwrap_err().reason, Reason::Refused);
}

#[test]
fn h26_removes_no_backup_that_is_read_pinned_or_changed_since() {
    let place = Place::new();
    let made = place.add("2026-11-23T05:00:00", b"x");
    let reader = place.catalogue.read(&made).unwrap();
    assert!(place.catalogue.in_use(&made).unwrap());
    assert_eq!(place.catalogue.remove(&made).unwrap_err().reason, Reason::Locked);
    assert_eq!(place.listed(), [(made.name.clone(), true)]);
    drop(reader);
    assert!(!place.catalogue.in_use(&made).unwrap());

    let pinned = place.catalogue.pin(&made, true).unwrap();
    assert_eq!(place.catalogue.remove(&made).unwrap_err().reason, Reason::Refused);
    assert_eq!(place.catalogue.remove(&pinned).unwrap_err().reason, Reason::Refused);
    let unpinned = place.catalogue.pin(&made, false).unwrap();
    place.catalogue.remove(&unpinned).unwrap();
    assert!(place.files().is_empty());
    assert_eq!(place.catalogue.remove(&unpinned).unwrap_err().reason, Reason::NotFound);
}

/// Two machines that were given one place, or one with two state directories, begin in the same
/// second.
#[test]
fn who_comes_second_to_a_name_takes_nothing_from_who_came_first() {
    let place = Place::new();
    let other = Catalogue::new("app", Arc::new(Local::open(place.base.path(), "app").unwrap()));
    let mut first = None;
    let late = other.add(at("2026-11-23T05:00:00"), GZIP, None, &|| Ok(()), &mut |out| {
        first = Some(place.add("2026-11-23T05:00:00", b"of the first"));
        x(out)
    });
    let error = late.unwrap_err();
    assert_eq!(error.reason, Reason::Refused);
    assert!(error.message.contains("by somebody else"), "{error}");
    let first = first.unwrap();
    assert_eq!(place.catalogue.latest().unwrap().as_ref(), Some(&first));
    let mut content = Vec::new();
    place.catalogue.read(&first).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, b"of the first");
}

#[test]
fn the_backup_of_a_damaged_database_counts_as_damaged_from_its_beginning() {
    let place = Place::new();
    let before = place.add("2026-11-23T04:00:00", b"x");
    let write = &mut |out: &mut dyn Write| {
        out.write_all(b"damaged").unwrap();
        Ok(Snapshot { damage: Some("a page is none".into()), ..snapshot() })
    };
    let made = place.catalogue.add(at("2026-11-23T05:00:00"), GZIP, None, &|| Ok(()), write);
    let made = made.unwrap().made().unwrap().backup;
    assert!(matches!(&made.state, State::Damaged(why) if why.contains("a page is none")), "{made:?}");
    assert_eq!(place.catalogue.latest().unwrap(), Some(before));
}

#[test]
fn keeps_the_newest_backups_when_rotating() {
    let place = Place::new();
    for hour in 1..=5 {
        place.add(&format!("2026-11-23T0{hour}:00:00"), b"x");
    }
    let keep = Keep { last: 2, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
    let backups = place.catalogue.list().unwrap();
    let held = place.catalogue.hold(&backups[4]).unwrap();
    let candidates: Vec<Candidate> =
        backups.iter().map(|b| Candidate::new(b, place.catalogue.in_use(b).unwrap())).collect();
    for (backup, decision) in backups.iter().zip(plan(&candidates, &keep, litekeeper::zone::Zone::UTC)) {
        assert_eq!(backup.name, decision.name);
        if !decision.keep {
            place.catalogue.remove(backup).unwrap();
        }
    }
    drop(held);
    let left: Vec<String> = place.listed().into_iter().map(|(name, _)| name[13..15].to_owned()).collect();
    assert_eq!(left, ["05", "04", "01"]);
}
