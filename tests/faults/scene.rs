//! What each fault happens to: a database that an application writes all the time, with a few good
//! backups. And what must hold after it, whatever the fault was.

use crate::support::application::Application;
use crate::support::backups::{directory, unfinished};
use crate::support::history::{self, Run};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// Backups that rotation keeps.
pub const KEPT: usize = 3;

/// Between two commits: often enough that each run meets some, and the database stays small.
const PAUSE: Duration = Duration::from_millis(30);

pub struct Scene {
    pub sandbox: Sandbox,
    pub application: Application,
    /// What was restored and found sound, with its last commit: as long as the bytes are the same,
    /// it still is.
    proved: BTreeMap<String, (Vec<u8>, u64)>,
}

/// What was there before a fault.
pub struct Before {
    /// Names of the backups, the oldest first.
    pub backups: Vec<String>,
    /// Those that may be damaged, and may go.
    pub doubted: Vec<String>,
    /// The last commit that the application knew of.
    pub committed: u64,
}

/// A backup as `litekeeper backups` lists it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Listed {
    pub name: String,
    pub state: String,
    pub why: Option<String>,
    pub keep: bool,
}

impl Listed {
    /// Made while the disk could not be read for a moment. It restores, and goes once a better one
    /// is made.
    fn is_doubted(&self) -> bool {
        self.why.as_ref().is_some_and(|why| why.contains("the database was damaged when it was made"))
    }
}

impl Scene {
    /// With as many backups as are kept, so that the next one removes one.
    pub fn new() -> Self {
        Self::with("", |_| ())
    }

    /// With `extra` configuration, in a sandbox that `adapt` has changed before anything is in it
    /// but the database.
    pub fn with(extra: &str, adapt: impl FnOnce(&Sandbox)) -> Self {
        let sandbox = Sandbox::with_database(&["--rows", "200"]);
        adapt(&sandbox);
        sandbox.configure(&format!("[backup]\nkeep_last = {KEPT}\n{extra}"));
        let mut application = Application::start(&sandbox.database());
        application.write_every(PAUSE);
        let mut this = Self { sandbox, application, proved: BTreeMap::new() };
        for _ in 0..KEPT {
            this.backup();
        }
        this
    }

    /// Adds so many MiB that do not compress.
    pub fn ballast(&mut self, mebibytes: u32) {
        self.application.sql("CREATE TABLE IF NOT EXISTS ballast (bytes BLOB NOT NULL)");
        for _ in 0..mebibytes {
            self.application.sql("INSERT INTO ballast VALUES (randomblob(1048000))");
        }
    }

    /// Looks at what is there, after one more commit: a run that follows has something to back up.
    pub fn before(&self) -> Before {
        self.now_with(self.application.wait_for_commits(1))
    }

    fn now_with(&self, committed: u64) -> Before {
        let (doubted, all): (Vec<_>, Vec<_>) = self.listed().into_iter().partition(Listed::is_doubted);
        let names = |backups: Vec<Listed>| backups.into_iter().map(|backup| backup.name).collect();
        Before { committed, backups: names(all), doubted: names(doubted) }
    }

    /// The same where the application cannot write.
    pub fn before_nothing_new(&self) -> Before {
        self.now_with(self.application.seen().last())
    }

    /// A backup that must succeed, and leave nothing but backups.
    pub fn backup(&mut self) -> String {
        let before = self.before();
        let output = self.sandbox.litekeeper(&["backup", "attendance"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let made = self.assert_nothing_lost(&before).expect("exit 0, and no backup");
        self.assert_clean();
        let listed = self.listed();
        assert!(listed.iter().all(|backup| backup.state == "good"), "{listed:?}");
        made
    }

    /// The same, of a database that nobody changes meanwhile, among backups that need not all be
    /// good.
    pub fn backup_of_what_there_is(&mut self) -> String {
        let output = self.sandbox.litekeeper(&["backup", "attendance"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        self.assert_clean();
        let good = self.listed().into_iter().filter(|backup| backup.state == "good");
        good.max_by_key(|backup| self.sequence(&backup.name)).expect("exit 0, and no backup").name
    }

    /// The backups, the oldest first; none where there is no place for them yet.
    pub fn listed(&self) -> Vec<Listed> {
        let output = self.sandbox.litekeeper(&["--json", "backups", "attendance"]);
        if output.status.code() == Some(10) {
            return Vec::new();
        }
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let mut all: Vec<Listed> = serde_json::from_slice(&output.stdout).unwrap();
        // Not by name: backups made faster than one a second borrow the names of later seconds.
        all.sort_by_key(|backup| self.sequence(&backup.name));
        all
    }

    /// From the manifest; `None` where it cannot be read.
    fn sequence(&self, name: &str) -> Option<u64> {
        let manifest = format!("{}.json", name.split('.').next().unwrap());
        let json = fs::read(directory(&self.sandbox).join(manifest)).ok()?;
        serde_json::from_slice::<serde_json::Value>(&json).ok()?["sequence"].as_u64()
    }

    /// Every listed backup restores, none that should stay is gone, and the application's database
    /// is what the application made of it. Gives the name of the backup that was made since, if one
    /// was.
    pub fn assert_nothing_lost(&mut self, before: &Before) -> Option<String> {
        let listed = self.listed();
        for backup in &listed {
            // One that was not read back yet, as its run was killed, must restore all the same.
            assert!(
                backup.is_doubted() || ["good", "unconfirmed"].contains(&backup.state.as_str()),
                "{listed:?}"
            );
        }
        let names: Vec<String> = listed.into_iter().map(|backup| backup.name).collect();
        let made: Vec<&String> = names
            .iter()
            .filter(|name| !before.backups.contains(name) && !before.doubted.contains(name))
            .collect();
        assert!(made.len() <= 1, "one run made {made:?}");
        let ever: Vec<&String> = before.backups.iter().chain(made.iter().copied()).collect();
        for name in &ever[ever.len().saturating_sub(KEPT)..] {
            assert!(names.contains(name), "{name} is lost: of {:?} there are {names:?}", before.backups);
        }
        for name in &names {
            let last = self.prove(name);
            let is_new = made.contains(&name);
            assert!(
                !is_new || last >= before.committed,
                "{name} ends at {last}, {} is older",
                before.committed
            );
        }
        let last = assert_sound(&self.sandbox.database());
        assert!(last >= before.committed, "the source ends at {last}, {} was committed", before.committed);
        made.first().map(|name| (*name).clone())
    }

    /// Restores a backup; gives its last commit.
    pub fn prove(&mut self, name: &str) -> u64 {
        let bytes = fs::read(directory(&self.sandbox).join(name)).unwrap();
        if let Some((same, last)) = self.proved.get(name)
            && *same == bytes
        {
            return *last;
        }
        let target = self.restored();
        let output =
            self.sandbox.litekeeper(&["restore", "attendance", name, "--to", target.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{name} is listed and does not restore: {}", said(&output));
        let last = assert_sound(&target);
        fs::remove_file(&target).unwrap();
        self.proved.insert(name.to_owned(), (bytes, last));
        last
    }

    /// Where restored databases go.
    pub fn restored(&self) -> PathBuf {
        self.sandbox.path().join("restored.sqlite")
    }

    /// No run has left anything half done.
    pub fn assert_clean(&self) {
        assert_eq!(unfinished(&self.sandbox), Vec::<String>::new());
    }

    /// The newest run of a job.
    pub fn last_run(&self, job: &str) -> Run {
        history::runs(&self.sandbox, "attendance", job).pop().expect("the history is empty")
    }

    /// Whoever ran the command, or looks at the history, is told that it failed and where.
    pub fn assert_loud(&self, output: &Output, place: &str) {
        let said = said(output);
        assert!(!output.status.success(), "exit 0: {said}");
        assert!(said.contains("litekeeper: ") || said.contains("problem"), "{said}");
        assert!(said.contains(place), "it does not name {place}: {said}");
        let run = self.last_run("backup");
        assert_eq!(run.outcome, "failure", "{run:?}");
        assert!(run.summary.contains(place), "{run:?}");
    }

    /// The application saw no error, and its database has every commit.
    pub fn end(self) {
        let seen = self.application.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert_eq!(assert_sound(&self.sandbox.database()), seen.last());
    }
}

/// All that a command printed, for messages.
pub fn said(output: &Output) -> String {
    format!(
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
