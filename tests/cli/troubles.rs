//! What can be wrong with a database, each made for real, with what is to be said of it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use litekeeper::error::Reason;

use crate::support::application::{APPLICATION, Application, Owner};
use crate::support::sandbox::Sandbox;
use crate::support::sql::edit;

const US: Owner = Owner { uid: 4712, gid: 4712 };

/// What is wrong with a database, and what is said about it.
pub(crate) struct Trouble {
    pub(crate) make: fn(&Sandbox),
    /// What runs the program with its arguments: `setpriv`, `strace`, nothing.
    pub(crate) through: Through,
    /// The verb that meets it.
    pub(crate) verb: &'static str,
    pub(crate) reason: Reason,
    pub(crate) code: i32,
    /// Beside the path: what is wrong, and what to do.
    pub(crate) words: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Through {
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

/// All of them, each by its name.
pub(crate) fn troubles() -> Vec<(&'static str, Trouble)> {
    [a_path_that_leads_to_no_database, another_file, a_database_of_no_use, no_right_or_no_disk]
        .into_iter()
        .flat_map(|some| some())
        .collect()
}

fn a_path_that_leads_to_no_database() -> Vec<(&'static str, Trouble)> {
    use Reason as R;
    let trouble = database_by_the_rules;
    vec![
        (
            "no file",
            Trouble { make: remove, words: &["does not exist", "restore DB --in-place"], ..trouble() },
        ),
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
                words: &["begins with something else", "restore a backup"],
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
                words: &["header is gone", "restore attendance --to", "recover attendance --to"],
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
                words: &["header is gone", "recover attendance --to"],
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
                words: &["header is broken", "restore attendance --to"],
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
                words: &["damaged", "restore attendance --to"],
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
                words: &["is empty", "restore attendance --to"],
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
                words: &["user 4712 may not read and write", "chmod u+rw "],
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
                words: &["belongs to user 4711", "chmod g+rw"],
                ..trouble()
            },
        ),
        (
            "a mount that is read-only",
            Trouble {
                through: Through::ReadOnlyMount,
                reason: R::ReadOnly,
                words: &[
                    "is in WAL mode and lies on a filesystem that is read-only here",
                    "the filesystem is writable, and is mounted read-only here: mount it writable here, too",
                ],
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
