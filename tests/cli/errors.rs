//! Every way in which a database cannot be used has a word and a text of its own that says where
//! and what to do: each made for real, and told by the real program.

use crate::support::application::{APPLICATION, Application, Owner, create_database};
use crate::support::sandbox::{Sandbox, copy_for_all, program};
use crate::support::sql::edit;
use crate::support::{skip, wait_until};
use litekeeper::error::Reason;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const US: Owner = Owner { uid: 4712, gid: 4712 };

/// What is wrong with a database, and what is said about it.
struct Trouble {
    make: fn(&Sandbox),
    /// What runs the program with its arguments: `setpriv`, `strace`, nothing.
    through: Through,
    /// The verb that meets it.
    verb: &'static str,
    reason: Reason,
    code: i32,
    /// Beside the path: what is wrong, and what to do.
    words: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Through {
    Nothing,
    AnotherUser,
    /// The data on a mount that cannot be written.
    ReadOnlyMount,
    /// Reading the database fails as on a broken disk.
    BrokenDisk,
}

fn database_by_the_rules() -> Trouble {
    Trouble {
        make: |_| (),
        through: Through::Nothing,
        verb: "health",
        reason: Reason::Vanished,
        code: 1,
        words: &[],
    }
}

/// Over the bytes of a closed database.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    edit(path, "PRAGMA journal_mode = delete");
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// As a cipher leaves them: the same in each run.
fn random(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn replace_by(sandbox: &Sandbox, bytes: &[u8]) {
    fs::write(sandbox.database(), bytes).unwrap();
}

fn remove(sandbox: &Sandbox) {
    fs::remove_file(sandbox.database()).unwrap();
}

/// The installation is the other user's, who runs the program.
fn give_to_us(sandbox: &Sandbox) {
    sandbox.give_data_to(US);
    for place in [sandbox.state(), sandbox.backups()] {
        chown(place, Some(US.uid), Some(US.gid)).unwrap();
    }
}

fn troubles() -> Vec<(&'static str, Trouble)> {
    [a_path_that_leads_to_no_database, another_file, a_database_of_no_use, no_right_or_no_disk]
        .into_iter()
        .flat_map(|some| some())
        .collect()
}

fn a_path_that_leads_to_no_database() -> Vec<(&'static str, Trouble)> {
    use Reason as R;
    let trouble = database_by_the_rules;
    vec![
        ("no file", Trouble { make: remove, words: &["does not exist", "litekeeper restore"], ..trouble() }),
        (
            "no file, for a backup",
            Trouble { make: remove, verb: "backup", code: 10, words: &["does not exist"], ..trouble() },
        ),
        (
            "a dangling link",
            Trouble {
                make: |s| {
                    remove(s);
                    symlink("/nowhere/database", s.database()).unwrap();
                },
                words: &["link to /nowhere/database, which does not exist", "correct path"],
                ..trouble()
            },
        ),
        (
            "a link to itself",
            Trouble {
                make: |s| {
                    remove(s);
                    symlink(s.database(), s.database()).unwrap();
                },
                words: &["leads back to itself", "let path name the file"],
                ..trouble()
            },
        ),
        (
            "a directory",
            Trouble {
                make: |s| {
                    remove(s);
                    fs::create_dir(s.database()).unwrap();
                },
                reason: R::NotADatabase,
                words: &["it is a directory", "correct path"],
                ..trouble()
            },
        ),
    ]
}

fn another_file() -> Vec<(&'static str, Trouble)> {
    use Reason as R;
    let trouble = database_by_the_rules;
    vec![
        (
            "a text",
            Trouble {
                make: |s| replace_by(s, "to be done: everything\n".repeat(500).as_bytes()),
                reason: R::NotADatabase,
                words: &["begins with something else", "litekeeper restore"],
                ..trouble()
            },
        ),
        (
            "a database whose header is gone",
            Trouble {
                make: |s| {
                    let mut bytes = fs::read(s.database()).unwrap();
                    bytes[..100].fill(0);
                    replace_by(s, &bytes);
                },
                reason: R::Damaged,
                code: 12,
                words: &["header is gone", "litekeeper restore", "litekeeper recover"],
                ..trouble()
            },
        ),
        (
            "zeros",
            Trouble {
                make: |s| {
                    let bytes = fs::read(s.database()).unwrap();
                    replace_by(s, &vec![0; bytes.len()]);
                },
                reason: R::Damaged,
                code: 12,
                words: &["header is gone", "litekeeper recover"],
                ..trouble()
            },
        ),
        (
            "the write-ahead log of another",
            Trouble {
                make: |s| {
                    let application = Application::start(&s.database());
                    application.kill();
                    edit(&s.database(), "CREATE TABLE log (a)");
                    let log = fs::read(s.data().join("attendance.sqlite-wal")).unwrap_or_else(|_| {
                        // Closed well, it is gone; one is then made by hand.
                        [&[0x37, 0x7F, 0x06, 0x82][..], &[0; 4092]].concat()
                    });
                    replace_by(s, &log);
                },
                reason: R::NotADatabase,
                words: &["write-ahead log", "without -wal"],
                ..trouble()
            },
        ),
        (
            "a gzip file",
            Trouble {
                make: |s| {
                    let path = s.database();
                    assert!(Command::new("gzip").arg("-f").arg(&path).status().unwrap().success());
                    fs::rename(s.data().join("attendance.sqlite.gz"), path).unwrap();
                },
                reason: R::NotADatabase,
                words: &["gzip", "unpack it"],
                ..trouble()
            },
        ),
    ]
}

fn a_database_of_no_use() -> Vec<(&'static str, Trouble)> {
    use Reason as R;
    let trouble = database_by_the_rules;
    vec![
        (
            "an encrypted database",
            Trouble {
                make: |s| replace_by(s, &random(40 * 4096)),
                reason: R::Encrypted,
                words: &["SQLCipher", "has no key", "take it out of the configuration"],
                ..trouble()
            },
        ),
        (
            "an encrypted database, for a backup",
            Trouble {
                make: |s| replace_by(s, &random(40 * 4096)),
                verb: "backup",
                reason: R::Encrypted,
                words: &["SQLCipher"],
                ..trouble()
            },
        ),
        (
            "a newer format",
            Trouble {
                make: |s| overwrite(&s.database(), 18, &[3, 3]),
                reason: R::NewerFormat,
                words: &["file format 3 for reading and 3 for writing", "install a newer litekeeper"],
                ..trouble()
            },
        ),
        (
            "a format that is newer for writing alone",
            Trouble {
                make: |s| {
                    overwrite(&s.database(), 18, &[3]);
                },
                verb: "maintain",
                reason: R::NewerFormat,
                code: 3,
                words: &["3 for writing", "install a newer litekeeper"],
                ..trouble()
            },
        ),
        (
            "a broken header",
            Trouble {
                make: |s| overwrite(&s.database(), 16, &[0xFF, 0xFF]),
                reason: R::Damaged,
                code: 12,
                words: &["header is broken", "litekeeper restore"],
                ..trouble()
            },
        ),
        (
            "a file cut off",
            Trouble {
                make: |s| {
                    edit(&s.database(), "PRAGMA journal_mode = delete");
                    let file = fs::OpenOptions::new().write(true).open(s.database()).unwrap();
                    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
                },
                reason: R::Damaged,
                code: 12,
                words: &["damaged", "litekeeper restore"],
                ..trouble()
            },
        ),
        (
            "an empty file",
            Trouble {
                make: |s| {
                    edit(&s.database(), "PRAGMA journal_mode = delete");
                    replace_by(s, &[]);
                },
                reason: R::Shrunken,
                words: &["is empty", "litekeeper restore"],
                ..trouble()
            },
        ),
    ]
}

fn no_right_or_no_disk() -> Vec<(&'static str, Trouble)> {
    use Reason as R;
    let trouble = database_by_the_rules;
    vec![
        (
            "a file that its owner may not read",
            Trouble {
                make: |s| {
                    give_to_us(s);
                    fs::set_permissions(s.database(), fs::Permissions::from_mode(0o000)).unwrap();
                },
                through: Through::AnotherUser,
                reason: R::Permission,
                words: &["user 4712 may not read and write", "litekeeper@.service"],
                ..trouble()
            },
        ),
        (
            "a directory that may not be searched",
            Trouble {
                make: |s| {
                    give_to_us(s);
                    chown(s.data(), Some(APPLICATION.uid), Some(APPLICATION.gid)).unwrap();
                    fs::set_permissions(s.data(), fs::Permissions::from_mode(0o700)).unwrap();
                },
                through: Through::AnotherUser,
                reason: R::Permission,
                words: &["user 4712 may not look for", "the right to search each directory"],
                ..trouble()
            },
        ),
        (
            "a file of another owner",
            Trouble {
                make: |s| {
                    give_to_us(s);
                    s.give_data_to(APPLICATION);
                    fs::set_permissions(s.data(), fs::Permissions::from_mode(0o777)).unwrap();
                },
                through: Through::AnotherUser,
                reason: R::WrongOwner,
                words: &["belongs to user 4711", "chmod 0660"],
                ..trouble()
            },
        ),
        (
            "a mount that is read-only",
            Trouble {
                through: Through::ReadOnlyMount,
                reason: R::ReadOnly,
                words: &["Read-only file system", "mount that filesystem writable"],
                ..trouble()
            },
        ),
        (
            "a broken disk",
            Trouble {
                through: Through::BrokenDisk,
                reason: R::Io,
                words: &["disk I/O error", "dmesg"],
                ..trouble()
            },
        ),
    ]
}

/// `None` where it cannot be run that way here.
fn run(sandbox: &Sandbox, through: Through, verb: &str) -> Option<Output> {
    let arguments = ["--json", "--config", sandbox.configuration().to_str().unwrap(), verb, "attendance"]
        .map(str::to_owned);
    let plain = program();
    let wrapped = |words: &[&str], binary: &Path| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(binary);
        command
    };
    let is_root = rustix::process::geteuid().is_root();
    let binary = Path::new(plain.get_program()).to_owned();
    let data = sandbox.data();
    let mut command = match through {
        Through::Nothing => plain,
        Through::AnotherUser | Through::ReadOnlyMount if !is_root => {
            skip("only root can be another user, or mount");
            return None;
        }
        Through::AnotherUser => {
            let copy = sandbox.path().join("litekeeper");
            copy_for_all(&binary, &copy);
            wrapped(&["setpriv", "--reuid=4712", "--regid=4712", "--clear-groups", "--"], &copy)
        }
        Through::ReadOnlyMount => {
            let script =
                "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
            let data = data.to_str().unwrap();
            wrapped(&["unshare", "--mount", "sh", "-c", script, "sh", data], &binary)
        }
        Through::BrokenDisk => {
            let database = sandbox.database();
            let database = database.to_str().unwrap();
            let trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", database, "-e", "trace=pread64"];
            if Command::new("strace").args(["-e", "trace=none", "true"]).status().is_ok_and(|s| s.success()) {
                wrapped(&[&trace[..], &["-e", "inject=pread64:error=EIO"]].concat(), &binary)
            } else {
                skip("strace is missing, or may not trace");
                return None;
            }
        }
    };
    Some(command.args(arguments).output().unwrap())
}

#[test]
fn each_trouble_has_a_word_a_text_and_a_remedy_of_its_own() {
    let wrong: Vec<String> =
        troubles().into_iter().filter_map(|(name, trouble)| tell(name, &trouble)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with what is said; `None` where nothing is.
fn tell(name: &str, trouble: &Trouble) -> Option<String> {
    let sandbox = Sandbox::new();
    sandbox.configure("[pool]\nretries = 1\n");
    (trouble.make)(&sandbox);
    let output = run(&sandbox, trouble.through, trouble.verb)?;
    let said = format!("{name}: {output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let faults = ["findings", "problems"].map(|list| told[list].as_array().expect(&said).clone()).concat();
    // A run that could not be made is a failed one, with its reason in the history.
    let (reason, message) = match faults.first() {
        Some(fault) => (fault["reason"].clone(), fault["message"].clone()),
        None => (told["reason"].clone(), told["summary"].clone()),
    };
    let message = message.as_str().expect(&said);
    let database = sandbox.database();
    let words = trouble.words.iter().copied().chain([database.to_str().unwrap()]);
    let missing: Vec<&str> = words.filter(|word| !message.contains(word)).collect();
    let expected = (Some(trouble.reason.as_str()), Some(trouble.code));
    if (reason.as_str(), output.status.code()) != expected || !missing.is_empty() {
        return Some(format!("not {expected:?} with {missing:?}: {said}"));
    }
    if faults.is_empty() {
        let runs = crate::support::history::runs(&sandbox, "attendance", trouble.verb);
        assert_eq!((runs[0].outcome.as_str(), runs[0].reason.as_str()), ("failure", trouble.reason.as_str()));
    }
    None
}

#[test]
fn h21_who_keeps_everybody_out_is_named() {
    let sandbox = Sandbox::new();
    sandbox.configure("[pool]\nbusy_timeout = \"50ms\"\n");
    let application = Application::start_with(&sandbox.database(), &["--locking-mode", "exclusive"], None);
    let output = run(&sandbox, Through::Nothing, "health").unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fault = &told["findings"][0];
    assert_eq!((&fault["reason"], output.status.code()), (&"held".into(), Some(1)), "{told}");
    let who = format!("process {} (", application.pid());
    let database = sandbox.database();
    for word in
        [who.as_str(), database.to_str().unwrap(), "locking_mode = EXCLUSIVE", "pool.busy_timeout (50ms)"]
    {
        assert!(fault["message"].as_str().unwrap().contains(word), "{word:?} is not in {fault}");
    }
}

#[test]
fn a_run_whose_database_is_replaced_is_stopped_and_the_next_one_takes_the_new_file() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let configuration = sandbox.configure("[pool]\nbusy_timeout = \"60s\"\n");
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    let mut command = program();
    command.args(["--json", "--config", configuration.to_str().unwrap(), "maintain", "attendance"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let descriptors = format!("/proc/{}/fd", running.id());
    wait_until("it has the database open, and waits", || {
        let open = fs::read_dir(&descriptors).ok()?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        open.into_iter().any(|file| file == sandbox.database()).then_some(())
    });
    let other = sandbox.path().join("other.sqlite");
    create_database(&other, &["--rows", "7"]);
    fs::rename(&other, sandbox.database()).unwrap();
    application.release();
    let output = running.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["reason"], output.status.code()), (&"replaced".into(), Some(1)), "{told}");
    let database = sandbox.database();
    for word in ["another file was put in place of", database.to_str().unwrap(), "restart whatever"] {
        assert!(told["summary"].as_str().unwrap().contains(word), "{word:?} is not in {told}");
    }
    let runs = crate::support::history::runs(&sandbox, "attendance", "maintain");
    assert_eq!(runs[0].reason, "replaced");
    assert!(sandbox.litekeeper(&["maintain", "attendance"]).status.success());
}
