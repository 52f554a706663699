//! A machine with two applications, litekeeper, and root, each a user of his own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::application::{Owner, create_database};
use crate::support::sandbox::{Sandbox, copy_for_all, said};
use crate::support::{skip, sql};

/// The application whose directory it is, another one, and litekeeper's own user, who is in the
/// groups of both.
pub(crate) const APPLICATION: Owner = Owner { uid: 12345, gid: 12345 };
pub(crate) const OTHER: Owner = Owner { uid: 12346, gid: 12346 };
pub(crate) const KEEPER: Owner = Owner { uid: 12399, gid: 12399 };

/// Two applications, each with a database in its own directory that only its group may read, the
/// first of them `attendance` in the configuration; and something of root's that nobody else may
/// read.
pub(crate) struct Machine {
    pub(crate) sandbox: Sandbox,
    pub(crate) program: PathBuf,
}

impl Machine {
    /// `None` where the tests may not be other users.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("only root can be other users");
            return None;
        }
        let sandbox = Sandbox::empty();
        fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self { program: sandbox.path().join("litekeeper"), sandbox };
        copy_for_all(Path::new(env!("CARGO_BIN_EXE_litekeeper")), &this.program);
        fs::create_dir(this.other()).unwrap();
        for (directory, owner) in [(this.sandbox.data(), APPLICATION), (this.other(), OTHER)] {
            let database = directory.join("attendance.sqlite");
            create_database(&database, &["--journal-mode", "delete"]);
            sql::edit(
                &database,
                "CREATE TABLE log (id INTEGER PRIMARY KEY, at TEXT); INSERT INTO log (at) VALUES ('2019-01-01'), (datetime())",
            );
            give(&database, owner, 0o660);
            give(&directory, owner, 0o2770);
        }
        fs::create_dir(this.private()).unwrap();
        fs::write(this.private().join("keys"), "only root's").unwrap();
        fs::set_permissions(this.private(), fs::Permissions::from_mode(0o700)).unwrap();
        this.sandbox.configure(
            "[[database.attendance.cleanup.rule]]\ntable = \"log\"\ncolumn = \"at\"\nkeep = \"365d\"\n",
        );
        Some(this)
    }

    pub(crate) fn other(&self) -> PathBuf {
        self.sandbox.path().join("other")
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.sandbox.path().join("private")
    }

    /// Backups and state are of litekeeper's own user, as in an installation.
    pub(crate) fn give_to_keeper(&self) {
        give(&self.sandbox.backups(), KEEPER, 0o750);
        give(&self.sandbox.state(), KEEPER, 0o750);
    }

    pub(crate) fn run(&self, prefix: &[&str], args: &[&str]) -> Output {
        let mut command = Command::new(prefix.first().copied().unwrap_or("env"));
        command.args(prefix.iter().skip(1)).arg(&self.program);
        command.arg("--config").arg(self.sandbox.configuration()).args(args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn as_root(&self, args: &[&str]) -> Output {
        self.run(&[], args)
    }

    pub(crate) fn as_keeper(&self, args: &[&str]) -> Output {
        let prefix = ["setpriv", "--reuid=12399", "--regid=12399", "--groups=12345,12346", "--"];
        self.run(&prefix, args)
    }

    /// What the application's user does in his shell.
    pub(crate) fn application(&self, script: &str) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "sh", "-ec", script]);
        assert!(command.current_dir(self.sandbox.data()).status().unwrap().success(), "{script}");
    }

    pub(crate) fn others_database(&self) -> PathBuf {
        self.other().join("attendance.sqlite")
    }
}

pub(crate) fn give(path: &Path, owner: Owner, mode: u32) {
    chown(path, Some(owner.uid), Some(owner.gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn refused(output: &Output, says: &[&str]) {
    // What a job has found is on stdout.
    let text = said(output);
    assert!(!output.status.success(), "{text}");
    assert!(says.iter().all(|part| text.contains(part)), "{text}");
}

/// The file, bytes and all that `stat` tells but when it was read.
pub(crate) fn state_of(path: &Path) -> (Vec<u8>, u32, u32, u32, u64) {
    let file = path.metadata().unwrap();
    (fs::read(path).unwrap(), file.uid(), file.gid(), file.mode(), file.ino())
}
