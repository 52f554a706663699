//! What is made once for all who ask at about the same time: a page of metrics may be many megabytes, and it lies in memory
//! once, however many clients take their time to read it. Must never keep more than one of a kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::Mutex;

/// The newest of one kind. A clone is another handle to the same.
#[derive(Debug)]
pub(super) struct Shared<K> {
    newest: Arc<Mutex<Option<Made<K>>>>,
}

#[derive(Debug)]
struct Made<K> {
    /// What it was made of.
    of: K,
    at: Instant,
    bytes: Bytes,
}

impl<K> Clone for Shared<K> {
    fn clone(&self) -> Self {
        Self { newest: Arc::clone(&self.newest) }
    }
}

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self { newest: Arc::default() }
    }
}

impl<K: PartialEq> Shared<K> {
    /// The newest, where it was made of the same and began no longer than `age` ago; made anew otherwise. Others who ask
    /// meanwhile wait for it.
    pub(super) async fn get(&self, of: K, age: Duration, make: impl FnOnce() -> String) -> Bytes {
        let mut newest = self.newest.lock().await;
        let now = Instant::now();
        match &*newest {
            Some(last) if last.of == of && now.saturating_duration_since(last.at) < age => last.bytes.clone(),
            _ => {
                let bytes = Bytes::from(make());
                *newest = Some(Made { of, at: now, bytes: bytes.clone() });
                bytes
            }
        }
    }
}
