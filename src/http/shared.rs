//! What is made once for all who ask at about the same time: a page of metrics may be many
//! megabytes, and it lies in memory once, however many clients take their time to read it. Must
//! never keep more than [`MOST`] of a kind.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::Mutex;

/// Of one kind in memory at a time, with those that a client still reads. Beyond them everybody is
/// given the newest there is until one of those clients is done; the longest time of a connection
/// bounds how old that gets.
const MOST: usize = 4;

/// The newest of one kind. A clone is another handle to the same.
#[derive(Debug)]
pub(super) struct SharedPage<K> {
    held: Arc<Mutex<Renderings<K>>>,
}

#[derive(Debug)]
struct Renderings<K> {
    newest: Option<Newest<K>>,
    /// Those before it, of which some may be in the hands of clients.
    older: Vec<Weak<[u8]>>,
}

#[derive(Debug)]
struct Newest<K> {
    /// What it was made of.
    of: K,
    at: Instant,
    bytes: Arc<[u8]>,
}

impl<K> Clone for SharedPage<K> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held) }
    }
}

impl<K> Default for SharedPage<K> {
    fn default() -> Self {
        Self { held: Arc::new(Mutex::new(Renderings { newest: None, older: Vec::new() })) }
    }
}

impl<K: PartialEq> SharedPage<K> {
    /// The newest, where it was made of the same and no longer than `age` ago; made anew otherwise.
    /// Others who ask meanwhile wait for it.
    pub(super) async fn get(&self, of: K, age: Duration, make: impl FnOnce() -> String) -> Bytes {
        let mut held = self.held.lock().await;
        held.older.retain(|older| older.strong_count() > 0);
        let is_enough = held.older.len() + 1 >= MOST;
        let bytes = match held.newest.take() {
            Some(last) if is_enough || (last.of == of && last.at.elapsed() < age) => {
                let bytes = Arc::clone(&last.bytes);
                held.newest = Some(last);
                bytes
            }
            last => {
                held.older.extend(last.map(|last| Arc::downgrade(&last.bytes)));
                let bytes: Arc<[u8]> = make().into_bytes().into();
                // From its end: where making it takes longer than `age`, those who waited would
                // else each make their own.
                held.newest = Some(Newest { of, at: Instant::now(), bytes: Arc::clone(&bytes) });
                bytes
            }
        };
        Bytes::from_owner(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that are in the hands of clients who do not read.
    async fn asked(shared: &SharedPage<usize>, times: std::ops::Range<usize>) -> Vec<Bytes> {
        let mut answers = Vec::new();
        for n in times {
            answers.push(shared.get(n, Duration::ZERO, || n.to_string()).await);
        }
        answers
    }

    #[tokio::test]
    async fn clients_who_never_read_keep_no_more_than_the_most() {
        let shared = SharedPage::default();
        let answers = asked(&shared, 0..60).await;
        let places: std::collections::HashSet<_> = answers.iter().map(|bytes| bytes.as_ptr()).collect();
        assert_eq!(places.len(), MOST);
        assert_eq!(answers[59], Bytes::from((MOST - 1).to_string()));
    }

    #[tokio::test]
    async fn a_client_who_is_done_makes_room_for_a_newer() {
        let shared = SharedPage::default();
        let mut answers = asked(&shared, 0..60).await;
        answers.remove(0);
        assert_eq!(asked(&shared, 60..61).await, [Bytes::from("60")]);
    }
}
