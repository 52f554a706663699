//! Locks between processes and machines, as small objects:
//! `.locks/<resource>/<mode>-<host>-<pid>-<number>`. Whoever wants one writes its own, lists, and
//! takes it back where another stands in the way: of two at the same time at least one sees the
//! other, so never both go on. No conditional request is needed, which not every server has.
//!
//! A lock says that it lives by being written again. One that was not for [`DEAD_AFTER`], by the
//! bucket's own clock, is removed by whoever meets it; one of a dead process of this machine at
//! once. So a process that is stopped, or cut off from the bucket, for longer than that has lost
//! its locks without knowing.
//!
//! A key that may write and not remove, so that nobody who steals it can remove backups, ends its
//! locks by writing [`ENDED`] into them.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use rustix::system::uname;
use tokio::task::JoinHandle;

use super::prefix::Prefix;
use super::{failure, runtime};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::store::codec::hash;

/// A lock is written again this often.
const BEAT: Duration = Duration::from_secs(120);
/// One that was not is dead: four beats missed, and one on its way.
const DEAD_AFTER: TimeDelta = TimeDelta::minutes(10);
/// How long to wait for another.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the end of a lock is awaited; then it dies by itself.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// What stands in a lock that its owner may not remove. One that is held is empty.
const ENDED: &str = "ended";

/// How a resource is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// With others.
    Shared,
    /// Alone.
    Alone,
}

impl Mode {
    const fn letter(self) -> char {
        match self {
            Self::Shared => 's',
            Self::Alone => 'a',
        }
    }
}

/// The locks on one resource.
pub(super) struct Locks {
    files: Prefix,
    resource: String,
    directory: Path,
}

/// A lock that is held.
pub(super) struct LockHolder {
    client: Arc<dyn ObjectStore>,
    path: Path,
    beating: Option<JoinHandle<()>>,
    /// Or may be.
    is_written: bool,
}

impl Drop for LockHolder {
    fn drop(&mut self) {
        if !self.is_written {
            return;
        }
        let (client, path, beating) = (Arc::clone(&self.client), self.path.clone(), self.beating.take());
        let released = runtime::begin(async move {
            if let Some(beating) = beating {
                // Its last beat must not come after the end.
                beating.abort();
                drop(beating.await);
            }
            match client.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(_) => client.put(&path, ENDED.into()).await.map(drop),
            }
        });
        if !matches!(released.map(|begun| begun.wait_for(RELEASE_LIMIT)), Ok(Some(Ok(())))) {
            tracing::warn!(lock = %self.path, "a lock in the bucket could not be removed; it ends by itself in 10 minutes");
        }
    }
}

impl Locks {
    pub(super) fn new(files: Prefix, resource: &str) -> Self {
        let directory = files.above.clone().join(".locks").join(resource);
        Self { files, resource: resource.to_owned(), directory }
    }

    /// Locks it, waiting for others for a bounded time.
    pub(super) fn wait(&self, mode: Mode) -> Result<LockHolder> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            if let Some(held) = self.attempt(mode)? {
                return Ok(held);
            }
            if start.elapsed() >= PATIENCE {
                let what = self
                    .resource
                    .split_once('-')
                    .map_or_else(|| self.files.place.clone(), |(_, n)| self.files.shown(n));
                let text = format!("another run has had {what} for {} s; try again", PATIENCE.as_secs());
                return Err(Error::new(Reason::Locked, text));
            }
            // Not in step with the other, or both would take theirs back for ever.
            std::thread::sleep(pause.mul_f64(0.5 + f64::from(chance()) / 256.0));
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Locks it, or gives `None` where another is in the way.
    pub(super) fn attempt(&self, mode: Mode) -> Result<Option<LockHolder>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{}-{number}", mode.letter(), *HOST, std::process::id());
        let (client, path) = (Arc::clone(&self.files.client), self.directory.clone().join(name));
        let (writing, own) = (Arc::clone(&client), path.clone());
        // Before it is written: it may be there although the answer was lost.
        let mut held = LockHolder { client, path, beating: None, is_written: true };
        let written = runtime::run(async move { writing.put(&own, Vec::new().into()).await })?;
        if let Err(cause) = written {
            let error = self.failed(&cause);
            held.is_written = error.reason != Reason::Permission;
            return Err(error);
        }

        let all = self.list()?;
        let Some(own) = all.iter().find(|lock| lock.location == held.path) else {
            let text = format!("the bucket does not list what was just written to {}", self.files.place);
            return Err(Error::new(Reason::Unsupported, text));
        };
        for other in all.iter().filter(|lock| lock.location != held.path) {
            match Other::of(own, mode, other) {
                Other::InTheWay => return Ok(None),
                Other::Beside => {}
                Other::Dead => {
                    let (client, dead) = (Arc::clone(&held.client), other.location.clone());
                    // Another may have been quicker.
                    let _ = runtime::run(async move { client.delete(&dead).await })?;
                }
            }
        }
        held.beating = Some(beat(&held, BEAT)?);
        Ok(Some(held))
    }

    /// Whether anybody has a lock now. By our own clock: good enough to show, and to spare a file,
    /// not to remove one.
    pub(super) fn are_held(&self) -> Result<bool> {
        let now = clock::now();
        Ok(self.list()?.iter().any(|lock| {
            !has_ended(lock) && now - lock.last_modified < DEAD_AFTER * 2 && !is_of_dead_process(lock)
        }))
    }

    fn list(&self) -> Result<Vec<ObjectMeta>> {
        let (client, directory) = (Arc::clone(&self.files.client), self.directory.clone());
        let listed = runtime::run(async move { client.list_with_delimiter(Some(&directory)).await })?;
        listed.map(|listed| listed.objects).map_err(|e| self.failed(&e))
    }

    fn failed(&self, cause: &object_store::Error) -> Error {
        let mut error = failure::told(&format!("cannot lock {}", self.files.place), self.files.remedy, cause);
        // Of the bucket: a file that is not there is told by whoever looks for it.
        if error.reason == Reason::NotFound {
            error.reason = Reason::Io;
        }
        error
    }
}

/// Keeps a lock alive until it is stopped.
fn beat(held: &LockHolder, every: Duration) -> Result<JoinHandle<()>> {
    let (client, path) = (Arc::clone(&held.client), held.path.clone());
    runtime::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            // A beat that is missed is made up for by the next.
            let _ = client.put(&path, Vec::new().into()).await;
        }
    })
}

/// What another's lock is to one that was just written.
#[derive(Debug, PartialEq, Eq)]
enum Other {
    Dead,
    InTheWay,
    Beside,
}

impl Other {
    fn of(own: &ObjectMeta, mode: Mode, other: &ObjectMeta) -> Self {
        if has_ended(other) {
            Self::Beside
        } else if own.last_modified - other.last_modified > DEAD_AFTER || is_of_dead_process(other) {
            Self::Dead
        } else if mode == Mode::Alone || is_alone(other) {
            Self::InTheWay
        } else {
            Self::Beside
        }
    }
}

fn is_alone(lock: &ObjectMeta) -> bool {
    lock.location.filename().is_none_or(|name| !name.starts_with(Mode::Shared.letter()))
}

fn has_ended(lock: &ObjectMeta) -> bool {
    lock.size > 0
}

fn is_of_dead_process(lock: &ObjectMeta) -> bool {
    let mut parts = lock.location.filename().unwrap_or_default().split('-').skip(1);
    let is_ours = parts.next() == Some(HOST.as_str());
    let pid = parts.next().and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
    is_ours && pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// This machine, or this container of it: where a process number means a process. Where that cannot
/// be told, a name that nobody else has, so that nobody's process is taken for dead.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let machine = std::fs::read("/etc/machine-id").ok().filter(|id| !id.is_empty());
    let identity = match (machine, std::fs::read_link("/proc/self/ns/pid")) {
        (Some(machine), Ok(space)) => {
            // Copied machines may have one id, but hardly one name.
            [machine.as_slice(), uname().nodename().to_bytes(), space.as_os_str().as_encoded_bytes()].concat()
        }
        _ => format!("{}-{:?}", std::process::id(), Utc::now()).into_bytes(),
    };
    hash::sha256(&identity)[..12].to_owned()
});

/// Some byte that differs between two processes at one time.
fn chance() -> u8 {
    let now = Utc::now().timestamp_subsec_nanos();
    hash::sha256(&[now.to_le_bytes(), std::process::id().to_le_bytes()].concat())
        .bytes()
        .fold(0, u8::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn lock(name: &str, minutes_ago: i64) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!(".locks/edit/{name}")),
            last_modified: chrono::DateTime::UNIX_EPOCH - TimeDelta::minutes(minutes_ago),
            size: 0,
            e_tag: None,
            version: None,
        }
    }

    #[test]
    fn a_lock_counts_until_it_missed_its_beats_by_the_clock_of_the_bucket() {
        let of = |mode, name, minutes| Other::of(&lock("own", 0), mode, &lock(name, minutes));
        assert_eq!(of(Mode::Shared, "s-0000-1-1", 9), Other::Beside);
        assert_eq!(of(Mode::Shared, "a-0000-1-1", 9), Other::InTheWay);
        assert_eq!(of(Mode::Alone, "s-0000-1-1", 9), Other::InTheWay);
        // Not understood: somebody's.
        assert_eq!(of(Mode::Shared, "x", 9), Other::InTheWay);
        assert_eq!(of(Mode::Alone, "a-0000-1-1", 11), Other::Dead);
        assert_eq!(of(Mode::Alone, &format!("a-{}-{}-1", *HOST, std::process::id()), 9), Other::InTheWay);
        let ended = ObjectMeta { size: ENDED.len() as u64, ..lock("a-0000-1-1", 9) };
        assert_eq!(Other::of(&lock("own", 0), Mode::Alone, &ended), Other::Beside);
    }

    #[test]
    fn a_lock_that_is_held_is_written_again() {
        let client: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("lock");
        let (at, writing) = (path.clone(), Arc::clone(&client));
        let seen = move || {
            let (client, path) = (Arc::clone(&client), path.clone());
            runtime::run(async move { client.head(&path).await }).unwrap()
        };
        let mut held = LockHolder { client: writing, path: at, beating: None, is_written: true };
        held.beating = Some(beat(&held, Duration::from_millis(1)).unwrap());
        let written = |after| loop {
            match seen() {
                Ok(now) if Some(now.last_modified) > after => break now.last_modified,
                _ => std::thread::yield_now(),
            }
        };
        let first = written(None);
        written(Some(first));
        drop(held);
        assert!(seen().is_err(), "its end is the last that is written");
    }
}
