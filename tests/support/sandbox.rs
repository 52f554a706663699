//! A temporary directory laid out as an installation: the application's data, the daemon's state,
//! backups and configuration; and the command line run in it. Gone when dropped.

use super::application::{Owner, create_database};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Every job that has a schedule, with the key that holds it.
const SCHEDULES: [(&str, &str); 7] = [
    ("maintain", "schedule"),
    ("backup", "schedule"),
    ("verify", "schedule"),
    ("cleanup", "schedule"),
    ("health", "schedule"),
    ("health", "integrity_schedule"),
    ("watch", "schedule"),
];

const PROGRAM: &str = env!("CARGO_BIN_EXE_litekeeper");

pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    /// With a database of 1000 attendance rows in WAL mode.
    pub fn new() -> Self {
        Self::with_database(&[])
    }

    /// With a database made with these options of `application.py create`.
    pub fn with_database(options: &[&str]) -> Self {
        let this = Self::empty();
        create_database(&this.database(), options);
        this
    }

    /// With the directories alone.
    pub fn empty() -> Self {
        // Jobs that a test runs in its own process have the program check for them, as it does for
        // itself.
        litekeeper::sqlite::inspector::set_program(Path::new(PROGRAM));
        let this = Self { dir: TempDir::with_prefix("litekeeper-test-").unwrap() };
        for dir in [this.data(), this.backups(), this.state()] {
            fs::create_dir(dir).unwrap();
        }
        this
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The application's own directory, with nothing but the database and its sidecars.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The database, `attendance` in the configuration.
    pub fn database(&self) -> PathBuf {
        self.data().join("attendance.sqlite")
    }

    pub fn backups(&self) -> PathBuf {
        self.path().join("backups")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn configuration(&self) -> PathBuf {
        self.path().join("litekeeper.toml")
    }

    /// Writes a configuration in which nothing is scheduled, the daemon listens on a free port, and
    /// rotation keeps by number alone, so that no test depends on the hour that it runs in; with `extra` (TOML) merged over it table by table; gives its path.
    pub fn configure(&self, extra: &str) -> PathBuf {
        let mut configuration: toml::Table = toml::toml! {
            [daemon]
            listen = "127.0.0.1:0"
            timezone = "UTC"
            [backup]
            keep_hourly = 0
            keep_daily = 0
            keep_weekly = 0
            keep_monthly = 0
        };
        for (table, key) in SCHEDULES {
            set(&mut configuration, &[table, key], "never");
        }
        for (keys, path) in [
            (&["daemon", "state_dir"][..], self.state()),
            (&["backup", "dir"], self.backups()),
            (&["database", "attendance", "path"], self.database()),
        ] {
            set(&mut configuration, keys, path.to_str().unwrap());
        }
        merge(&mut configuration, extra.parse().expect("extra configuration is TOML"));
        self.configure_as(&configuration.to_string())
    }

    /// Writes this text as the configuration, valid or not; gives its path.
    pub fn configure_as(&self, text: &str) -> PathBuf {
        fs::write(self.configuration(), text).unwrap();
        self.configuration()
    }

    /// Makes the data another user's, as an application's are (takes root).
    pub fn give_data_to(&self, owner: Owner) {
        // A temporary directory is its maker's alone; the application must reach its data through
        // it.
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let files = fs::read_dir(self.data()).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain([self.data()]) {
            chown(path, Some(owner.uid), Some(owner.gid)).unwrap();
        }
    }

    /// Runs `litekeeper --config … ARGS` to its end.
    pub fn litekeeper(&self, args: &[&str]) -> Output {
        let configuration = self.configuration();
        litekeeper(&[&["--config", configuration.to_str().unwrap()], args].concat())
    }
}

/// The program, with nothing of our own environment that would change what it does.
pub fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    for name in ["LITEKEEPER_CONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

/// Copies a program to where any user may run it. By another process: a child that this one starts
/// meanwhile for another test would inherit the open copy, and a file that is open for writing
/// cannot be run.
pub fn copy_for_all(program: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "0755"]).args([program, to]).status().unwrap();
    assert!(status.success(), "cannot copy {}", program.display());
}

/// All that a command printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs `litekeeper ARGS` to its end.
pub fn litekeeper(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn set(table: &mut toml::Table, keys: &[&str], value: &str) {
    let nested = keys.iter().rev().fold(toml::Value::from(value), |inner, key| {
        toml::Value::Table(toml::Table::from_iter([((*key).to_owned(), inner)]))
    });
    if let toml::Value::Table(nested) = nested {
        merge(table, nested);
    }
}

fn merge(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
