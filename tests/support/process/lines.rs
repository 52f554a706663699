//! The lines that a child process prints, kept in order, to wait for one of them. Must never leave
//! a pipe unread: a full pipe would stop the child.

use crate::support::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open_pipes: usize,
}

impl Lines {
    /// Reads a pipe to its end, in a thread of its own.
    pub fn read(&self, pipe: impl Read + Send + 'static) {
        self.0.0.lock().unwrap().open_pipes += 1;
        let this = self.clone();
        std::thread::spawn(move || {
            let (state, changed) = &*this.0;
            let mut pipe = BufReader::new(pipe);
            let mut bytes = Vec::new();
            // A child that was killed may leave half a line, and a damaged text need not be UTF-8.
            while matches!(pipe.read_until(b'\n', &mut bytes), Ok(1..)) {
                state.lock().unwrap().lines.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
                bytes.clear();
                changed.notify_all();
            }
            state.lock().unwrap().open_pipes -= 1;
            changed.notify_all();
        });
    }

    /// How many there are: a mark, to wait for what comes after it.
    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// All so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// What `pick` finds first in the lines from number `from` on, those that are still to come
    /// included. Fails the test when the process ends without it, or nothing comes for too long.
    pub fn wait_for<T>(&self, what: &str, from: usize, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let start = Instant::now();
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        let mut next = from;
        loop {
            while let Some(line) = state.lines.get(next) {
                if let Some(found) = pick(line) {
                    return found;
                }
                next += 1;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            let why = match state.open_pipes {
                0 => "the process ended",
                _ if left.is_zero() => "it took too long",
                _ => {
                    state = changed.wait_timeout(state, left).unwrap().0;
                    continue;
                }
            };
            let printed = state.lines.join("\n");
            drop(state);
            panic!("waited for {what}, but {why}; it printed:\n{printed}");
        }
    }

    /// Whether the process still has a pipe to write to.
    pub fn is_open(&self) -> bool {
        self.0.0.lock().unwrap().open_pipes > 0
    }

    /// Waits until the process has closed all its pipes, which it does at its end; `false`: it did
    /// not.
    pub fn wait_for_end(&self) -> bool {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap();
        changed.wait_timeout_while(state, PATIENCE, |state| state.open_pipes > 0).unwrap().0.open_pipes == 0
    }
}
