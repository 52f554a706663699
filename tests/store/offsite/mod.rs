//! Backups off the machine: every command on a bucket of a real server, copies in other places, and
//! credentials that nobody sees.

mod clouds;
mod failing;
mod outside;
mod tls;

use crate::buckets::s3::{self, Fault, KEY, Proxy, SECRET, Server};
use crate::support::application::Application;
use crate::support::backups;
use crate::support::daemon::Daemon;
use crate::support::sandbox::{program, said};
use crate::support::soundness::assert_sound;
use crate::support::wait_until;
use outside::Outside;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::Stdio;

/// A sandbox, and a bucket of a server that it looks for.
struct Away {
    outside: Outside,
    server: Server,
    bucket: String,
}

impl Deref for Away {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}

impl Away {
    /// With this configuration, in which BUCKET stands for a fresh bucket; `None` where there is no
    /// server.
    fn new(configuration: &str) -> Option<Self> {
        let server = s3::server()?;
        let bucket = server.bucket();
        let outside = Outside::new(&configuration.replace("BUCKET", &bucket), &at(server.address));
        Some(Self { outside, server, bucket })
    }

    /// Makes a backup of the database more than one part.
    fn grow(&self) {
        let mut application = Application::start(&self.sandbox.database());
        application.sql("CREATE TABLE big AS SELECT randomblob(12000000) AS bytes");
        application.stop();
    }

    /// From now on it finds the server behind this proxy.
    fn go_through(&mut self, proxy: &Proxy) {
        self.outside.set(&at(proxy.address));
    }
}

/// What leads to an S3 server.
fn at(address: SocketAddr) -> [(&'static str, String); 3] {
    [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
    ]
}

const IN_BUCKET: &str =
    "[backup]\ndir = \"s3://BUCKET/some/prefix\"\nkeep_last = 2\nskip_unchanged = false\n";

/// Copies to a directory and to a bucket.
fn copies(sandbox: &Path) -> String {
    format!(
        "[database.attendance.backup]\nskip_unchanged = false\n\
         [[database.attendance.backup.copy]]\nname = \"usb\"\ndir = \"{}\"\n\
         [[database.attendance.backup.copy]]\nname = \"offsite\"\ndir = \"s3://BUCKET\"\nkeep_last = 2\n",
        sandbox.join("usb").display()
    )
}

fn with_copies() -> Option<Away> {
    let away = Away::new("")?;
    let text = copies(away.sandbox.path()).replace("BUCKET", &away.bucket);
    away.sandbox.configure(&text);
    Some(away)
}

#[test]
fn every_command_works_on_a_bucket() {
    let Some(away) = Away::new(IN_BUCKET) else { return };
    let mut application = Application::start(&away.sandbox.database());
    application.write_every(std::time::Duration::from_millis(5));
    let checked = away.run(0, &["check", "--environment"]);
    assert!(checked.contains("can be read and has 0 files"), "{checked}");
    assert_eq!(away.json(0, &["backups", "attendance"]), serde_json::json!([]));
    for _ in 0..3 {
        application.wait_for_commits(1);
        away.run(0, &["backup", "attendance"]);
    }
    let names = away.backups(&[]);
    assert_eq!(names.len(), 2, "rotated");
    let keys = away.server.keys(&away.bucket);
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("some/prefix/attendance/attendance_")), "{keys:?}");
    assert_eq!(away.server.unfinished_uploads(&away.bucket), 0);

    let verified = away.run(0, &["verify", "attendance"]);
    assert!(verified.contains("restored, checked, good"), "{verified}");
    let listed = away.json(0, &["backups", "attendance"]);
    assert_eq!(listed[0]["verification"]["ok"], true, "{listed}");
    let path = format!("s3://{}/some/prefix/attendance/{}", away.bucket, names[0]);
    assert_eq!(listed[0]["path"], path);

    away.run(0, &["pin", "attendance", &names[1]]);
    application.wait_for_commits(1);
    away.run(0, &["backup", "attendance"]);
    assert!(away.backups(&[]).contains(&names[1]), "pinned");
    away.run(0, &["unpin", "attendance", &names[1]]);

    let seen = application.stop();
    let restored = away.sandbox.path().join("restored.sqlite");
    away.run(0, &["restore", "attendance", "--to", restored.to_str().unwrap()]);
    assert!(assert_sound(&restored) <= seen.last());
    let status = away.json(0, &["status"]);
    assert_eq!(status["databases"][0]["backups"], 3, "{status}");
    assert_eq!(status["databases"][0]["disk_free"]["backup_bytes"], Value::Null, "{status}");
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_listed_and_is_in_nobodys_way() {
    let Some(mut away) = Away::new(IN_BUCKET) else { return };
    away.grow();
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    proxy.fail(Fault::CutUp(2 << 20), u32::MAX);
    let mut command = program();
    away.environment(&mut command);
    command.arg("--config").arg(away.sandbox.configuration()).args(["backup", "attendance"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // In the middle of a part, which it sends again and again.
    proxy.wait_for_faults(2);
    child.kill().unwrap();
    child.wait().unwrap();
    proxy.heal();
    assert_eq!(away.backups(&[]), Vec::<String>::new());
    assert_eq!(away.server.keys(&away.bucket), Vec::<String>::new());
    away.run(0, &["backup", "attendance"]);
    assert_eq!(away.backups(&[]).len(), 1);
    away.run(0, &["verify", "attendance"]);
}

#[test]
fn the_daemon_backs_up_into_a_bucket_and_tells_of_it() {
    let Some(away) = Away::new(&format!("{IN_BUCKET}schedule = \"* * * * * *\"\ncatch_up = false\n")) else {
        return;
    };
    let daemon = Daemon::spawn(&away.sandbox.configuration(), |command| away.environment(command));
    daemon.wait_for_metrics("two backups are counted", |metrics| {
        (metrics.get("litekeeper_backups", &[("database", "attendance")]) == Some(2.0)).then_some(())
    });
    let metrics = daemon.metrics();
    let room = metrics.get("litekeeper_disk_free_bytes", &[("database", "attendance"), ("place", "backup")]);
    assert_eq!(room, None);
    let log = daemon.log().join("\n");
    assert!(!log.contains(SECRET) && !log.contains(KEY), "{log}");
    assert!(daemon.stop().success());
    // Two, or three where it was stopped between a backup and its rotation; whole all of them.
    assert!(away.backups(&[]).len() >= 2);
}

#[test]
fn a_backup_is_copied_everywhere_and_rotated_there_by_its_own_policy() {
    let Some(away) = with_copies() else { return };
    for _ in 0..3 {
        let told = away.json(0, &["backup", "attendance"]);
        assert!(told["summary"].as_str().unwrap().ends_with("; copied to usb, offsite"), "{told}");
    }
    let primary = away.backups(&[]);
    assert_eq!(primary.len(), 3);
    assert_eq!(away.backups(&["--from", "usb"]), primary);
    assert_eq!(away.backups(&["--from", "offsite"]), primary[..2]);
    for (copy, name) in [("usb", &primary[2]), ("offsite", &primary[1])] {
        let restored = away.sandbox.path().join(format!("{copy}.sqlite"));
        away.run(0, &["verify", "attendance", name, "--from", copy]);
        away.run(0, &["restore", "attendance", name, "--from", copy, "--to", restored.to_str().unwrap()]);
        assert_sound(&restored);
    }
    // A verification is of one place.
    let listed = away.json(0, &["backups", "attendance"]);
    assert!(listed.as_array().unwrap().iter().all(|backup| backup["verification"].is_null()), "{listed}");

    let error = said(&away.output(&["backups", "attendance", "--from", "ofsite"]));
    assert!(error.contains("attendance has no copy ofsite; it has usb, offsite"), "{error}");
    let status = away.run(0, &["status", "attendance"]);
    assert!(status.contains("usb: newest of") && status.contains("offsite: newest of"), "{status}");
}

#[test]
fn a_copy_that_fails_spoils_neither_the_backup_nor_the_others_and_catches_up() {
    let Some(mut away) = with_copies() else { return };
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    away.run(0, &["backup", "attendance"]);

    // The server refuses, and the disk is not mounted.
    proxy.fail(Fault::Status(403), u32::MAX);
    fs::rename(away.sandbox.path().join("usb"), away.sandbox.path().join("unmounted")).unwrap();
    let told = away.json(3, &["backup", "attendance"]);
    let problems: Vec<&str> =
        told["problems"].as_array().unwrap().iter().map(|p| p["message"].as_str().unwrap()).collect();
    assert_eq!(problems.len(), 2, "{told}");
    assert!(problems[0].starts_with("copy usb: ") && problems[0].contains("mount its disk"), "{told}");
    assert!(
        problems[1].starts_with("copy offsite: ") && problems[1].contains("the server says 403"),
        "{told}"
    );
    assert!(!away.sandbox.path().join("usb").exists(), "no directory is made in place of a disk");
    assert_eq!(away.backups(&[]).len(), 2);

    // Only one of them is away.
    proxy.heal();
    let told = away.json(3, &["backup", "attendance"]);
    assert!(told["summary"].as_str().unwrap().ends_with("; copied to offsite"), "{told}");
    assert_eq!(away.backups(&["--from", "offsite"]), away.backups(&[])[..2], "what it missed, too");

    fs::rename(away.sandbox.path().join("unmounted"), away.sandbox.path().join("usb")).unwrap();
    away.run(0, &["backup", "attendance"]);
    assert_eq!(away.backups(&["--from", "usb"]), away.backups(&[]));
}

/// What burnt with the machine had made many; those that are made after it are the newer all the
/// same.
#[test]
fn backups_of_a_directory_that_began_anew_are_copied_and_are_the_newest() {
    let Some(away) = with_copies() else { return };
    for _ in 0..3 {
        away.run(0, &["backup", "attendance"]);
    }
    let last = away.backups(&["--from", "usb"]).remove(0);
    fs::remove_dir_all(backups::directory(&away.sandbox)).unwrap();
    fs::create_dir(backups::directory(&away.sandbox)).unwrap();
    // Three in a second took the names of three seconds.
    wait_until("names are free again", || {
        (format!("attendance_{}", chrono::Utc::now().format("%Y%m%dT%H%M%SZ")) > last).then_some(())
    });
    for _ in 0..2 {
        let told = away.json(0, &["backup", "attendance"]);
        assert!(told["summary"].as_str().unwrap().ends_with("; copied to usb, offsite"), "{told}");
    }
    assert_eq!(away.backups(&["--from", "offsite"]), away.backups(&[]));
}

#[test]
fn a_copy_that_was_damaged_is_brought_again() {
    let Some(away) = with_copies() else { return };
    away.run(0, &["backup", "attendance"]);
    let name = away.backups(&[]).pop().unwrap();
    let copy = away.sandbox.path().join("usb/attendance").join(&name);
    let whole = fs::read(&copy).unwrap();
    fs::write(&copy, "short").unwrap();
    away.run(0, &["backup", "attendance"]);
    assert!(fs::read(&copy).unwrap() == whole);
}

#[test]
fn a_copy_into_the_directory_of_the_backups_under_another_name_is_refused() {
    let Some(away) = Away::new("") else { return };
    std::os::unix::fs::symlink(away.sandbox.path(), away.sandbox.path().join("other")).unwrap();
    let same = away.sandbox.path().join("other/backups");
    away.sandbox.configure(&format!(
        "[[database.attendance.backup.copy]]\nname = \"same\"\ndir = \"{}\"\nkeep_last = 1\n",
        same.display()
    ));
    let told = away.json(3, &["backup", "attendance"]);
    assert!(told["problems"][0]["message"].as_str().unwrap().contains("under another name"), "{told}");
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_copy_leaves_nothing_listed() {
    let Some(mut away) = with_copies() else { return };
    away.grow();
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    away.outside.set(&[("AWS_MAX_ATTEMPTS", "3".to_owned())]);
    proxy.fail(Fault::CutUp(2 << 20), u32::MAX);
    let told = away.json(3, &["backup", "attendance"]);
    assert!(proxy.faults() > 1, "{told}");
    assert_eq!(away.backups(&["--from", "usb"]), away.backups(&[]));
    proxy.heal();
    assert_eq!(away.backups(&["--from", "offsite"]), Vec::<String>::new());
    assert_eq!(away.server.keys(&away.bucket), Vec::<String>::new());
    assert_eq!(away.server.unfinished_uploads(&away.bucket), 0, "aborted");
    away.run(0, &["backup", "attendance"]);
    assert_eq!(away.backups(&["--from", "offsite"]), away.backups(&[]));
}

#[test]
fn a_backup_that_is_damaged_is_not_copied_and_is_marked() {
    let Some(away) = Away::new("") else { return };
    away.run(0, &["backup", "attendance"]);
    let manifest = backups::manifests(&away.sandbox).pop().unwrap();
    let file = backups::file(&away.sandbox, &manifest);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    away.sandbox.configure(&copies(away.sandbox.path()).replace("BUCKET", &away.bucket));
    let told = away.json(12, &["backup", "attendance"]);
    assert!(
        told["problems"][0]["message"]
            .as_str()
            .unwrap()
            .contains("is not the file that its manifest describes"),
        "{told}"
    );
    let listed = away.json(0, &["backups", "attendance"]);
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&"good".into(), &"damaged".into()), "{listed}");
    for copy in ["usb", "offsite"] {
        assert_eq!(away.backups(&["--from", copy]).len(), 1, "only the good one");
    }
}

#[test]
fn what_goes_on_with_copies_is_measured() {
    let Some(mut away) = with_copies() else { return };
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    let text = copies(away.sandbox.path()).replace("BUCKET", &away.bucket);
    away.sandbox.configure(&format!("{text}[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\n"));
    let daemon = Daemon::spawn(&away.sandbox.configuration(), |command| away.environment(command));
    let of = |copy| [("database", "attendance"), ("copy", copy)];
    daemon.wait_for_metrics("both copies are counted", |metrics| {
        let has = |copy| metrics.get("litekeeper_backup_copies", &of(copy)).is_some_and(|count| count >= 1.0);
        (has("usb") && has("offsite")).then_some(())
    });
    let failures = |copy| daemon.metrics().get("litekeeper_backup_copy_failures_total", &of(copy));
    assert_eq!((failures("usb"), failures("offsite")), (Some(0.0), Some(0.0)));
    proxy.fail(Fault::Status(403), u32::MAX);
    daemon.wait_for_metrics("a failure is counted", |metrics| {
        metrics.get("litekeeper_backup_copy_failures_total", &of("offsite")).filter(|count| *count > 0.0)
    });
    assert_eq!(failures("usb"), Some(0.0));
    let newest = daemon.metrics().get("litekeeper_backup_copy_newest_timestamp_seconds", &of("usb"));
    assert!(newest.is_some_and(|at| at > 1.7e9), "{newest:?}");
    let log = daemon.log().join("\n");
    assert!(!log.contains(SECRET) && !log.contains(KEY), "{log}");
    assert!(daemon.stop().success());
}

#[test]
fn credentials_of_systemd_are_taken_before_those_of_the_environment_and_never_shown() {
    let Some(away) = Away::new(IN_BUCKET) else { return };
    let credentials = away.sandbox.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    for (name, value) in [
        ("aws_access_key_id", format!("{KEY}\n")),
        ("aws_secret_access_key", format!("{SECRET}\n")),
        ("aws_endpoint_url", format!("http://{}\n", away.server.address)),
        ("something_else", "not ours".to_owned()),
    ] {
        fs::write(credentials.join(name), value).unwrap();
    }
    let with = |args: &[&str]| {
        let mut command = program();
        // Wrong, and of no use.
        command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_SECRET_ACCESS_KEY", "other");
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        command.args(["--log-level", "trace", "--config"]).arg(away.sandbox.configuration()).args(args);
        command.output().unwrap()
    };
    for args in
        [&["backup", "attendance"][..], &["verify", "attendance"], &["backups", "attendance"], &["status"]]
    {
        let output = with(args);
        let all = said(&output);
        assert!(output.status.success(), "{args:?}\n{all}");
        assert!(!all.contains(SECRET) && !all.contains(KEY), "{args:?}\n{all}");
    }
}

#[test]
fn a_place_that_refuses_says_so_without_its_credentials() {
    let Some(mut away) = Away::new(IN_BUCKET) else { return };
    let proxy = Proxy::before(away.server);
    away.go_through(&proxy);
    proxy.fail(Fault::Status(403), u32::MAX);
    for args in [&["backup", "attendance"][..], &["backups", "attendance"], &["verify", "attendance"]] {
        let output = away.output(&[&["--log-level", "trace"], args].concat());
        let all = said(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}\n{all}");
        assert!(all.contains("the server says 403") && all.contains("check AWS_ACCESS_KEY_ID"), "{all}");
        assert!(!all.contains(SECRET) && !all.contains(KEY), "{all}");
    }
    let status = away.run(0, &["status"]);
    assert!(status.contains("the backups cannot be looked at"), "{status}");
    assert!(away.run(1, &["check", "--environment"]).contains("the server says 403"));
}
