//! What only a directory can do wrong: full disks, killed processes, links, owners.

use super::noise;
use crate::support::sandbox::said;
use crate::support::skip;
use litekeeper::error::Reason;
use litekeeper::store::{Content, Local, Store};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Tells a re-executed test what to work on.
const DIRECTORY: &str = "LITEKEEPER_TEST_DIRECTORY";

/// The command that runs one test of this binary, ignored ones included, on `dir`.
fn again(program: &str, before: &[&str], test: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(before).args([test, "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, dir);
    command
}

fn this_binary() -> String {
    std::env::current_exe().unwrap().into_os_string().into_string().unwrap()
}

fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
#[ignore = "run by lists_nothing_of_a_put_that_was_killed_and_the_next_removes_it"]
fn child_that_is_killed_while_it_puts() {
    let Some(base) = std::env::var_os(DIRECTORY) else { return };
    let store = Local::open(Path::new(&base), "app").unwrap();
    let _ = store.put("killed", &mut |out| {
        out.write_all(&noise(9 << 20)).unwrap();
        out.flush().unwrap();
        println!("\nmidway");
        // Until the parent kills us; if the parent is gone, its pipe is, and this ends.
        let _ = std::io::stdin().read(&mut [0]);
        Ok(Content::New)
    });
}

#[test]
fn lists_nothing_of_a_put_that_was_killed_and_the_next_removes_it() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("app");
    let store = Local::create(base.path(), "app").unwrap();

    let mut child = again(&this_binary(), &[], "local::child_that_is_killed_while_it_puts", base.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "midway"), "the child never wrote");

    // While it lives, nobody takes its file away.
    store.replace("other", b"x").unwrap();
    let temps = || file_names(&dir).into_iter().filter(|n| n.starts_with(".tmp-")).count();
    assert_eq!(temps(), 1);

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(temps(), 1, "the child must have left something to clear away");
    let listed: Vec<_> = store.list().unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(listed, ["other"]);
    store.put("killed", &mut |_| Ok(Content::New)).unwrap();
    assert_eq!(file_names(&dir), ["killed", "other"]);
}

#[test]
#[ignore = "run by a_full_disk_is_a_clear_error_and_leaves_nothing"]
fn child_on_a_small_disk() {
    let Some(base) = std::env::var_os(DIRECTORY) else { return };
    let store = Local::create(Path::new(&base), "app").unwrap();
    let free = store.free_bytes().unwrap().unwrap();
    assert!((3 << 20..=4 << 20).contains(&free), "{free} bytes free of 4 MiB");

    // The writer words the error in its own way, or swallows it: the disk's own is what counts.
    for swallow in [false, true] {
        let outcome = store.put("big", &mut |out| {
            let written = out.write_all(&noise(9 << 20));
            if swallow {
                return Ok(Content::New);
            }
            written.map(|()| Content::New).map_err(|e| litekeeper::error::Error::io("something", &e))
        });
        let error = outcome.unwrap_err();
        assert_eq!(error.reason, Reason::NoSpace, "{error}");
        assert!(error.message.contains("/app/big: No space left on device"), "{error}");
        assert!(error.message.contains("free some space"), "{error}");
    }
    assert!(store.list().unwrap().is_empty());
    assert_eq!(store.free_bytes().unwrap(), Some(free), "what was written is gone");
    store
        .put("small", &mut |out| {
            out.write_all(&noise(1 << 20)).unwrap();
            Ok(Content::New)
        })
        .unwrap();
}

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_nothing() {
    let mount = tempfile::tempdir().unwrap();
    // In a mount namespace of its own, which takes the mount with it, however this ends.
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$LITEKEEPER_TEST_DIRECTORY" || exit 77; exec "$@""#;
    let root = rustix::process::geteuid().is_root();
    let namespace: &[&str] = if root { &["--mount"] } else { &["--mount", "--map-root-user"] };
    let binary = this_binary();
    let before = [namespace, &["sh", "-c", script, "sh", &binary]].concat();
    let output = again("unshare", &before, "local::child_on_a_small_disk", mount.path()).output();
    let output = match output {
        Ok(output) => output,
        Err(e) => return skip(&format!("unshare(1) does not run: {e}")),
    };
    let text = said(&output);
    if !output.status.success() && !text.contains("running 1 test") {
        return skip(&format!("no small disk to be had: {text}"));
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn h27_does_not_follow_a_link_in_place_of_its_directory() {
    let base = tempfile::tempdir().unwrap();
    let elsewhere = base.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, base.path().join("app")).unwrap();
    symlink(&elsewhere, base.path().join("backups")).unwrap();
    for error in [
        Local::create(base.path(), "app").err().unwrap(),
        Local::open(base.path(), "app").err().unwrap(),
        Local::create(&base.path().join("backups"), "app").err().unwrap(),
        // A slash at the end would follow it.
        Local::create(&base.path().join("backups/"), "app").err().unwrap(),
    ] {
        assert_eq!(error.reason, Reason::Refused);
        assert!(error.message.contains("is a symbolic link"), "{error}");
    }
    assert!(file_names(&elsewhere).is_empty());
}

#[test]
fn h27_does_not_follow_a_link_or_open_a_pipe_in_place_of_a_file() {
    let base = tempfile::tempdir().unwrap();
    let store = Local::create(base.path(), "app").unwrap();
    let secret = base.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    for name in ["link", "link.json", ".lock", ".tmp-link-1-1"] {
        symlink(&secret, base.path().join("app").join(name)).unwrap();
    }
    let made = Command::new("mkfifo").arg(base.path().join("app/pipe")).status().unwrap();
    assert!(made.success());

    assert!(store.list().unwrap().is_empty());
    for name in ["link", "pipe"] {
        assert!(store.get(name).is_err());
        assert!(store.hold(name).is_err());
        assert!(store.put(name, &mut |_| panic!("must not be called")).is_err());
    }
    assert!(store.edit().is_err());
    // Renamed over, not written through.
    store.replace("link.json", b"{}").unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert!(fs::symlink_metadata(base.path().join("app/link.json")).unwrap().is_file());
}

#[test]
fn stays_in_the_directory_that_it_opened() {
    let base = tempfile::tempdir().unwrap();
    let store = Local::create(base.path(), "app").unwrap();
    fs::rename(base.path().join("app"), base.path().join("moved")).unwrap();
    fs::create_dir(base.path().join("app")).unwrap();
    store.replace("a", b"x").unwrap();
    assert_eq!(file_names(&base.path().join("moved")), ["a"]);
    assert!(file_names(&base.path().join("app")).is_empty());
}

#[test]
fn makes_the_directories_but_not_what_is_above_them() {
    let base = tempfile::tempdir().unwrap();
    let error = Local::create(&base.path().join("mistyped/backups"), "app").err().unwrap();
    assert_eq!(error.reason, Reason::NotFound);
    assert!(error.message.contains("mistyped does not exist"), "{error}");
    assert!(file_names(base.path()).is_empty());
    assert_eq!(Local::open(&base.path().join("backups"), "app").err().unwrap().reason, Reason::NotFound);

    let store = Local::create(&base.path().join("backups"), "app").unwrap();
    store.put("a", &mut |_| Ok(Content::New)).unwrap();
    let mode = |path: &str| fs::metadata(base.path().join(path)).unwrap().permissions().mode() & 0o7777;
    // Nothing for others, whatever the umask; a stricter umask may take from directories.
    assert_eq!(mode("backups") & 0o027, 0);
    assert_eq!(mode("backups/app") & 0o027, 0);
    assert_eq!(mode("backups/app/a"), 0o640);
}

#[test]
fn root_leaves_files_that_the_owner_of_the_directory_can_use() {
    const OWNER: u32 = 54_321;
    if !rustix::process::geteuid().is_root() {
        return skip("needs root, to make a directory of another user");
    }
    let base = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(base.path(), Some(OWNER), Some(OWNER + 1)).unwrap();
    let store = Local::create(base.path(), "app").unwrap();
    store.put("a", &mut |_| Ok(Content::New)).unwrap();
    store.replace("a.json", b"{}").unwrap();
    drop(store.edit().unwrap());
    for name in ["app", "app/a", "app/a.json", "app/.lock"] {
        let owner = fs::metadata(base.path().join(name)).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (OWNER, OWNER + 1), "{name}");
    }
    // And of a store opened, not made, by root.
    let store = Local::open(base.path(), "app").unwrap();
    store.put("b", &mut |_| Ok(Content::New)).unwrap();
    assert_eq!(fs::metadata(base.path().join("app/b")).unwrap().uid(), OWNER);
}
