//! Follows who may have a database open: the daemon, or a restore in place of another process. Must
//! never let go of the lock that allows to open a database while this process has it open.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::error::Result;
use crate::sqlite::files::holders;
use crate::state::ByteLock;
use crate::state::State;
use crate::state::status::HandedOver;
use crate::survey::needs;

/// Between two looks whether a restore wants the database, or has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at a time, of all databases: each takes some descriptors, and all are at one directory.
static LOOKS: Semaphore = Semaphore::const_new(needs::LOOKS_AT_LOCKS);

/// Between two looks whether the connections are closed, which the pool does on other threads.
const CLOSED_EVERY: Duration = Duration::from_millis(20);

/// What becomes of a database.
pub(super) struct News {
    pub(super) database: String,
    pub(super) what: Message,
}

/// What the follower tells.
pub(super) enum Message {
    /// It may be opened.
    Ours,
    /// A restore has it.
    Away { by: String },
    /// A restore wants it: its path is to be sent once no run is at work and the pool has let go.
    Wanted { by: String, let_go: oneshot::Sender<PathBuf> },
}

/// Where a database is, and what waits for its return.
pub(super) struct Handover {
    pub(super) stage: Stage,
    follower: AbortHandle,
}

/// Who has it.
pub(super) enum Stage {
    /// Nothing is known yet: the daemon starts, or the database is new.
    Unknown,
    Ours,
    Leaving {
        to: HandedOver,
        end_of_grace: Instant,
        let_go: oneshot::Sender<PathBuf>,
    },
    Away {
        to: HandedOver,
    },
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Handover {
    /// Begins to follow who may have a database open.
    pub(super) fn follow(state: State, database: String, news: mpsc::UnboundedSender<News>) -> Self {
        let follower = Follower { state, database, news, has_warned: false };
        let follower = tokio::spawn(follower.follow()).abort_handle();
        Self { stage: Stage::Unknown, follower }
    }

    /// To whom, and since when, for the status.
    pub(super) fn to(&self) -> Option<&HandedOver> {
        match &self.stage {
            Stage::Leaving { to, .. } | Stage::Away { to } => Some(to),
            Stage::Unknown | Stage::Ours => None,
        }
    }

    /// Whether the daemon may open the database.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self.stage, Stage::Ours)
    }
}

/// Watches the locks of one database, on threads that may wait for a disk.
struct Follower {
    state: State,
    database: String,
    news: mpsc::UnboundedSender<News>,
    has_warned: bool,
}

impl Follower {
    async fn follow(mut self) {
        let mut open = None;
        loop {
            if open.is_none() {
                open = Some(self.taken().await);
            }
            self.tell(Message::Ours);
            let by = loop {
                sleep(LOOK_EVERY).await;
                if let Some(by) = self.wanted().await {
                    break by;
                }
            };
            let (let_go, path) = oneshot::channel();
            self.tell(Message::Wanted { by, let_go });
            tokio::select! {
                () = closed(path) => open = None,
                // Its process has ended, or has waited long enough: the lock was never given away.
                () = self.no_longer_wanted() => {}
            }
        }
    }

    /// The leave to open the database, as soon as no restore has it or wants it.
    async fn taken(&mut self) -> ByteLock {
        loop {
            match self.look(State::lock_open).await {
                Some(Ok(lock)) => return lock,
                Some(Err(by)) => self.tell(Message::Away { by }),
                // No reason to leave the database alone: a restore then finds the daemon in its
                // way, and says so.
                None => self.tell(Message::Ours),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn wanted(&mut self) -> Option<String> {
        self.look(State::wanted).await.flatten()
    }

    async fn no_longer_wanted(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.wanted().await.is_none() {
                return;
            }
        }
    }

    /// `None` where it cannot be told, which is logged once.
    async fn look<T: Send + 'static>(&mut self, how: fn(&State, &str) -> Result<T>) -> Option<T> {
        let (state, database) = (self.state.clone(), self.database.clone());
        // Of a semaphore that is never closed.
        let _turn = LOOKS.acquire().await.ok()?;
        match tokio::task::spawn_blocking(move || how(&state, &database)).await.ok()? {
            Ok(seen) => Some(seen),
            Err(error) => {
                if !std::mem::replace(&mut self.has_warned, true) {
                    tracing::warn!(
                        database = self.database,
                        "a restore in place will need this daemon to be stopped: {error}"
                    );
                }
                None
            }
        }
    }

    fn tell(&self, what: Message) {
        // Nobody listens any more only while the process ends.
        let _ = self.news.send(News { database: self.database.clone(), what });
    }
}

/// Waits until the pool has let go, and nothing in this process has the file at that path open any
/// more: what was given up may still be at work.
async fn closed(path: oneshot::Receiver<PathBuf>) {
    let Ok(path) = path.await else { return std::future::pending().await };
    loop {
        let looked_at = path.clone();
        let is_open = tokio::task::spawn_blocking(move || holders::is_open_here(&looked_at)).await;
        if matches!(is_open, Ok(false)) {
            return;
        }
        sleep(CLOSED_EVERY).await;
    }
}
