//! What a user who owns the directory of a database, or the state directory, can put there, and
//! what a caretaker with more rights than he has makes of it (HAZARDS H32): each with a process of
//! another user beside the real program.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::machine::{APPLICATION, KEEPER, Machine, give, refused, state_of};
use crate::support::application::{Owner, create_database};
use crate::support::daemon::Daemon;
use crate::support::history::runs;
use crate::support::restoring::stderr;
use crate::support::sql;
use crate::support::wait_until;

#[test]
fn h32_no_job_follows_a_link_of_one_application_to_the_database_of_another() {
    let Some(machine) = Machine::new() else { return };
    machine.give_to_keeper();
    for verb in ["backup", "cleanup"] {
        let done = machine.as_keeper(&[verb, "attendance"]);
        assert!(done.status.success(), "{}", stderr(&done));
    }
    let to = machine.sandbox.path().join("new.sqlite");
    let to = to.to_str().unwrap();
    let verbs: [&[&str]; 8] = [
        &["backup", "attendance"],
        &["cleanup", "attendance"],
        &["cleanup", "attendance", "--dry-run"],
        &["maintain", "attendance"],
        &["health", "attendance"],
        &["recover", "attendance", "--to", to],
        &["recover", "--file", "", "--to", to],
        &["restore", "attendance", "--in-place"],
    ];
    let before = state_of(&machine.others_database());
    let ways = [
        "rm -rf attendance.sqlite*; ln -s ../other/attendance.sqlite attendance.sqlite",
        // Over a link more, which is root's.
        "rm attendance.sqlite; ln -s ../over attendance.sqlite",
    ];
    symlink(machine.others_database(), machine.sandbox.path().join("over")).unwrap();
    for way in ways {
        machine.application(way);
        for verb in verbs {
            let database = machine.sandbox.database();
            let named: Vec<_> = verb
                .iter()
                .map(|arg| if arg.is_empty() { database.to_str().unwrap() } else { arg })
                .collect();
            for output in [machine.as_keeper(&named), machine.as_root(&named)] {
                refused(&output, &["is a link that user 12345 made", "belongs to user 12346"]);
            }
        }
    }
    assert_eq!(state_of(&machine.others_database()), before);
    assert!(!Path::new(to).exists());
}

#[test]
fn h32_no_job_follows_a_directory_or_a_second_name_to_the_database_of_another() {
    let Some(machine) = Machine::new() else { return };
    let below = machine.sandbox.data().join("below/attendance.sqlite");
    machine.sandbox.configure(&format!("[database.attendance]\npath = \"{}\"\n", below.display()));
    let before = state_of(&machine.others_database());
    machine.application("ln -s ../other below");
    for verb in ["backup", "maintain", "health"] {
        refused(&machine.as_root(&[verb, "attendance"]), &["below is a link that user 12345 made"]);
    }
    // As where the kernel does not protect hard links (fs.protected_hardlinks = 0).
    machine.application("rm below; mkdir below");
    fs::hard_link(machine.others_database(), &below).unwrap();
    for verb in ["backup", "maintain", "health"] {
        refused(&machine.as_root(&[verb, "attendance"]), &["hard links", "12346", "12345"]);
    }
    assert_eq!(state_of(&machine.others_database()), before);
}

#[test]
fn h32_links_that_root_made_or_the_owner_of_what_they_lead_to_are_followed() {
    let Some(machine) = Machine::new() else { return };
    machine.give_to_keeper();
    // Over a link of root to a directory, and one of the application to what it owns elsewhere.
    let elsewhere = machine.sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    give(&elsewhere, APPLICATION, 0o2770);
    symlink(machine.sandbox.data(), machine.sandbox.path().join("root-link")).unwrap();
    machine.application(
        "mv attendance.sqlite ../elsewhere/; ln -s ../elsewhere/attendance.sqlite attendance.sqlite",
    );
    let path = machine.sandbox.path().join("root-link/attendance.sqlite");
    machine.sandbox.configure(&format!("[database.attendance]\npath = \"{}\"\n", path.display()));
    for verb in ["backup", "maintain", "health", "verify"] {
        for output in [machine.as_root(&[verb, "attendance"]), machine.as_keeper(&[verb, "attendance"])] {
            assert!(output.status.success(), "{verb}: {}", stderr(&output));
        }
    }
    let restored = machine.as_root(&["restore", "attendance", "--in-place"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    let database = elsewhere.join("attendance.sqlite");
    assert!(machine.sandbox.database().is_symlink());
    assert_eq!(database.metadata().unwrap().uid(), APPLICATION.uid);
    // In a directory where everybody may make files.
    let all = machine.sandbox.path().join("all");
    fs::create_dir(&all).unwrap();
    fs::set_permissions(&all, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::rename(&database, all.join("attendance.sqlite")).unwrap();
    let path = all.join("attendance.sqlite");
    machine.sandbox.configure(&format!("[database.attendance]\npath = \"{}\"\n", path.display()));
    for verb in ["backup", "maintain", "health"] {
        let output = machine.as_root(&[verb, "attendance"]);
        assert!(output.status.success(), "{verb}: {}", stderr(&output));
    }
}

#[test]
fn h32_a_restore_in_place_replaces_nothing_behind_a_link_of_the_application() {
    let Some(machine) = Machine::new() else { return };
    assert!(machine.as_root(&["backup", "attendance"]).status.success());
    let keys = machine.private().join("keys");
    let before = state_of(&keys);
    for target in ["keys", "not-there-yet"] {
        machine.application(&format!("rm -f attendance.sqlite; ln -s ../private/{target} attendance.sqlite"));
        let restored = machine.as_root(&["restore", "attendance", "--in-place"]);
        refused(&restored, &["is a link that user 12345 made", "belongs to user root"]);
    }
    assert_eq!(state_of(&keys), before);
    assert_eq!(fs::read_dir(machine.private()).unwrap().count(), 1);
}

/// Puts links in the place of whatever appears in the directory, as fast as it can, until it is
/// killed; says `ready` when it watches.
const SWAPS: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None)
watch = libc.inotify_init()
libc.inotify_add_watch(watch, b".", 0x100 | 0x80)
print("ready", flush=True)
count = 0
while True:
    events = os.read(watch, 65536)
    while events:
        size = 16 + int.from_bytes(events[12:16], sys.byteorder)
        name, events = events[16:size].rstrip(b"\0"), events[size:]
        if not name.startswith(b".") or name.startswith(b".trap") or os.path.islink(name):
            continue
        count += 1
        trap = b".trap%d" % count
        try:
            os.symlink(sys.argv[1 + os.path.isdir(name)], trap)
            if os.path.isdir(name) and not os.path.islink(name):
                os.rename(name, b".trap-away%d" % count)
            os.rename(trap, name)
        except OSError:
            pass
"#;

/// A process that ends with the test, however that ends.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn h32_what_root_recovers_and_restores_into_a_users_directory_goes_through_no_link_that_he_puts_there() {
    let Some(machine) = Machine::new() else { return };
    assert!(machine.as_root(&["backup", "attendance"]).status.success());
    let (keys, victims) = (machine.private().join("keys"), machine.private().join("directory"));
    fs::create_dir(&victims).unwrap();
    for name in ["database", "database-wal"] {
        fs::write(victims.join(name), "only root's").unwrap();
    }
    // A database, to which SQLite would write as well.
    fs::remove_file(&keys).unwrap();
    sql::edit(&keys, "CREATE TABLE only_roots (a)");
    let before = state_of(&keys);
    let untouched = || {
        assert_eq!(state_of(&keys), before);
        let mut names: Vec<_> = fs::read_dir(&victims).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["database", "database-wal"]);
        for name in names {
            assert_eq!(fs::read_to_string(victims.join(name)).unwrap(), "only root's");
        }
    };
    // No database, so that it is copied as it is; with something beside it, so that SQLite has to
    // play that in.
    machine.application("echo '# text' > broken.sqlite; head -c 4000000 /dev/zero >> broken.sqlite; head -c 4000000 /dev/zero > broken.sqlite-wal");
    let mut swaps = Command::new("python3");
    swaps.uid(APPLICATION.uid).gid(APPLICATION.gid).args(["-I", "-c", SWAPS]);
    swaps.arg(&keys).arg(&victims).current_dir(machine.sandbox.data()).stdout(Stdio::piped());
    let mut swaps = Ended(swaps.spawn().unwrap());
    let mut ready = [0; 5];
    std::io::Read::read_exact(swaps.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let data = machine.sandbox.data();
    let broken = data.join("broken.sqlite");
    for round in 0..5 {
        let to = data.join(format!("new{round}.sqlite"));
        let to = to.to_str().unwrap();
        // Whether they end well is his own affair.
        let _ = machine.as_root(&["recover", "--file", broken.to_str().unwrap(), "--to", to]);
        untouched();
        let _ = machine.as_root(&["recover", "attendance", "--always", "--to", to]);
        untouched();
        let to = data.join(format!("restored{round}.sqlite"));
        let restored = machine.as_root(&["restore", "attendance", "--to", to.to_str().unwrap()]);
        // What he put there is not what was unpacked, and is not judged in its place.
        assert!(!stderr(&restored).contains("damaged"), "{}", stderr(&restored));
        untouched();
    }
}

#[test]
fn h32_a_pipe_in_the_place_of_a_file_hangs_no_job_no_other_database_and_no_stop() {
    let Some(machine) = Machine::new() else { return };
    let other = machine.others_database();
    let daemon = Daemon::start(&machine.sandbox.configure(&format!(
        "[daemon]\nparallel_jobs = 1\n[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nskip_unchanged = \
         false\n[database.other]\npath = \"{}\"\n",
        other.display()
    )));
    let newest = |database: &str, outcome: &str| {
        let all = runs(&machine.sandbox, database, "backup");
        all.into_iter().rfind(|run| run.outcome == outcome)
    };
    let next = |database: &str, outcome: &str| {
        let before = newest(database, outcome).map_or(0, |run| run.id);
        wait_until(&format!("a backup of {database} ends with {outcome}"), || {
            newest(database, outcome).filter(|run| run.id > before)
        })
    };
    next("attendance", "success");
    for suffix in ["-journal", "-wal", "-shm", ""] {
        let made = if suffix.is_empty() { "mv attendance.sqlite away" } else { "true" };
        machine.application(&format!("{made}; mkfifo attendance.sqlite{suffix}"));
        let run = next("attendance", "failure");
        let said = if suffix.is_empty() { "not a regular file" } else { "is a pipe of user 12345" };
        assert!(run.summary.contains(said), "{run:?}");
        next("other", "success");
        if !suffix.is_empty() {
            machine.application(&format!("rm attendance.sqlite{suffix}"));
            next("attendance", "success");
        }
    }
    assert!(daemon.stop().success());
}

#[test]
fn h32_what_lies_beside_a_database_and_is_no_file_of_its_own_is_not_written() {
    let Some(machine) = Machine::new() else { return };
    let keys = machine.private().join("keys");
    let before = state_of(&keys);
    for (made, said) in
        [("ln -s ../private/keys", "is a link of user 12345"), ("mkdir", "is a directory of user 12345")]
    {
        for suffix in ["-journal", "-wal", "-shm"] {
            machine.application(&format!("{made} attendance.sqlite{suffix}"));
            for verb in ["backup", "maintain", "cleanup", "health"] {
                refused(&machine.as_root(&[verb, "attendance"]), &[said]);
            }
            machine.application(&format!("rm -r attendance.sqlite{suffix}"));
        }
    }
    assert_eq!(state_of(&keys), before);
    // Somebody else's file under that name, where everybody may make files.
    let all = machine.sandbox.path().join("all");
    fs::create_dir(&all).unwrap();
    fs::set_permissions(&all, fs::Permissions::from_mode(0o1777)).unwrap();
    let path = all.join("attendance.sqlite");
    fs::rename(machine.others_database(), &path).unwrap();
    machine.application("echo x > ../all/attendance.sqlite-wal");
    machine.sandbox.configure(&format!("[database.attendance]\npath = \"{}\"\n", path.display()));
    refused(&machine.as_root(&["backup", "attendance"]), &["-wal belongs to user 12345"]);
}

#[test]
fn h32_a_command_of_root_follows_no_link_in_the_state_directory() {
    let Some(machine) = Machine::new() else { return };
    machine.give_to_keeper();
    let keeper = |script: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=12399", "--regid=12399", "--clear-groups", "sh", "-ec", script]);
        assert!(command.current_dir(machine.sandbox.state()).status().unwrap().success(), "{script}");
    };
    let victim = machine.private().join("victim.sqlite");
    create_database(&victim, &[]);
    let (keys, before) = (machine.private().join("keys"), state_of(&victim));
    let names = |directory: &Path| fs::read_dir(directory).unwrap().count();
    let there = names(&machine.private());
    let restore = ["restore", "attendance", "--in-place", "--dry-run"];
    assert!(machine.as_root(&["backup", "attendance"]).status.success());
    let state = machine.sandbox.state();
    for name in ["state.db", "locks", "locks/attendance.lock"] {
        assert_eq!(state.join(name).metadata().unwrap().uid(), KEEPER.uid, "{name}");
    }

    keeper("mv state.db away; ln -s ../private/victim.sqlite state.db");
    for verb in [&["backup", "attendance"][..], &["status"], &["history", "attendance"]] {
        refused(&machine.as_root(verb), &["state.db is a link that user 12399 made"]);
    }
    keeper(
        "rm state.db; mv away state.db; ln -s ../private/keys state.db-journal; mv locks locks-away; ln -s ../private locks",
    );
    for verb in [&["backup", "attendance"][..], &restore] {
        refused(&machine.as_root(verb), &[]);
    }
    keeper("rm state.db-journal");
    for verb in [&["backup", "attendance"][..], &restore] {
        refused(&machine.as_root(verb), &["locks is no directory, or a link to one"]);
    }
    keeper(
        "rm locks; mv locks-away locks; rm locks/attendance.lock; ln -s ../../private/keys locks/attendance.lock",
    );
    for verb in [&["backup", "attendance"][..], &restore] {
        refused(&machine.as_root(verb), &["attendance.lock is a link"]);
    }
    keeper("rm locks/attendance.lock");
    fs::hard_link(&keys, state.join("locks/attendance.lock")).unwrap();
    refused(&machine.as_root(&["backup", "attendance"]), &["another name of somebody else's file"]);
    keeper("rm -f locks/attendance.lock; mkfifo locks/attendance.lock");
    for verb in [&["backup", "attendance"][..], &restore] {
        refused(&machine.as_root(verb), &["attendance.lock is no regular file"]);
    }
    // What is only looked at, to see whether a daemon has the database open.
    keeper("rm locks/attendance.lock");
    for (made, said) in [("ln -s ../../private/keys", "is a link"), ("mkfifo", "is no regular file")] {
        keeper(&format!("rm -f locks/open; {made} locks/open"));
        refused(&machine.as_root(&restore), &[&format!("locks/open {said}")]);
    }
    assert_eq!(state_of(&victim), before);
    assert_eq!(fs::read_to_string(&keys).unwrap(), "only root's");
    assert_eq!((names(&machine.private()), keys.metadata().unwrap().uid()), (there, 0));
}

/// Without the right to give files away, root's files would stay root's, which the daemon's user
/// could not write.
#[test]
fn h32_root_makes_files_in_the_directory_of_another_as_that_user() {
    let Some(machine) = Machine::new() else { return };
    machine.give_to_keeper();
    let (data, database) = (machine.sandbox.data(), machine.sandbox.database());
    let root = Owner { uid: 0, gid: 0 };
    give(&data, root, 0o755);
    give(&database, root, 0o644);
    let done = machine
        .run(&["setpriv", "--bounding-set=-chown", "--inh-caps=-chown", "--"], &["backup", "attendance"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let stored = machine.sandbox.backups().join("attendance");
    let inside = fs::read_dir(&stored).unwrap().map(|entry| entry.unwrap().path());
    let state = machine.sandbox.state();
    let state = ["state.db", "locks", "locks/attendance.lock"].map(|name| state.join(name));
    for path in inside.chain([stored.clone()]).chain(state) {
        assert_eq!(path.metadata().unwrap().uid(), KEEPER.uid, "{}", path.display());
    }
}
