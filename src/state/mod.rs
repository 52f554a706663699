//! MEMORY: the daemon's own `state.db` with the run history, slow statements and remembered facts;
//! the locks that keep two runs off one database; and the live status snapshot. Must never hold
//! anything that the kept databases need: losing it loses history, not data.

pub mod facts;
mod files;
pub mod handover;
pub mod locks;
mod memory;
pub mod pin;
mod process;
mod ranges;
pub mod runs;
pub mod slow;
mod stand_in;
pub mod status;
pub mod times;
pub mod trends;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use self::ranges::ByteLock;
use crate::error::{Error, Reason, Result};
use memory::Memory;

/// The daemon's memory. Cheap to clone; shared with other litekeeper processes through SQLite's own
/// locks.
#[derive(Clone)]
pub struct State {
    memory: Arc<Mutex<Memory>>,
    directory: PathBuf,
    /// The file of [`ranges`], opened when a database is first asked for.
    open: Arc<OnceLock<ranges::Bytes>>,
}

impl State {
    /// Opens or creates `state.db` in `directory`, which is created where its parent exists. One
    /// that is damaged is moved aside.
    ///
    /// Errors name the file, and say what to do where it is from a newer version.
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self::of(directory, Memory::open(directory)?))
    }

    /// The same for whoever has work to do that is worth more than its history: where the disk of
    /// `state.db` is full, read-only or gone, what is remembered lives in this process, which is
    /// logged.
    ///
    /// Errors: where another process may be at work with it that cannot be seen.
    pub fn open_or_go_without(directory: &Path) -> Result<Self> {
        Ok(Self::of(directory, Memory::open_or_go_without(directory)?))
    }

    /// The memory as it is, for those who only look at it: creates nothing. Empty where there is
    /// none yet.
    pub fn view(directory: &Path) -> Result<Self> {
        Ok(Self::of(directory, Memory::view(directory)?))
    }

    fn of(directory: &Path, memory: Memory) -> Self {
        Self { memory: Arc::new(Mutex::new(memory)), directory: directory.to_owned(), open: Arc::default() }
    }

    /// Runs `work` on the connection, on a blocking thread.
    pub async fn with<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Connection) -> Result<T> + Send + 'static,
    {
        self.beside(move |state| state.now(work)).await
    }

    /// Whether what is remembered is kept in `state.db`: writes there, and compares the file with
    /// what is in its place. Where it is not, goes back to it as soon as that can be.
    pub async fn beat(&self) -> Result<()> {
        self.beside(|state| state.memory.lock().unwrap_or_else(PoisonError::into_inner).beat()).await
    }

    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let state = self.clone();
        tokio::task::spawn_blocking(move || work(&state))
            .await
            .unwrap_or_else(|_| Err(Error::new(Reason::Panic, "reading or writing state.db panicked")))
    }

    /// Runs `work` on the connection, on this thread. Where the file fails it, `work` is undone and
    /// done again in the memory of this process.
    pub fn now<T>(&self, mut work: impl FnMut(&mut Connection) -> Result<T>) -> Result<T> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).work(&mut work)
    }

    /// Runs `work` on this thread in one transaction that has the write lock from its beginning,
    /// for what depends on what it reads. Rolled back where `work` fails.
    pub fn transaction<T>(&self, mut work: impl FnMut(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.now(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Where `state.db` and the locks lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
