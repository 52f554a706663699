//! The signals that the daemon obeys: HUP reloads, TERM and INT stop. A second TERM or INT ends the
//! process at once, by the signal handler itself: it works also when the loop does not.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals as Stream;

use crate::error::{Error, Result};

/// Exit status after a second TERM or INT.
const QUIT: i32 = 1;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Read the configuration again.
    Reload,
    /// Drain and stop.
    Stop,
}

/// The signals, as they come. The system merges signals of one kind that come in quick succession.
pub(super) struct Signals {
    stream: Stream,
}

impl Signals {
    /// Takes over the signals of the process. Once per process.
    pub(super) fn install() -> Result<Self> {
        let failed = |e| Error::io("cannot handle signals", &e);
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down, and raises it for the second.
            flag::register_conditional_shutdown(signal, QUIT, Arc::clone(&stopping)).map_err(failed)?;
            flag::register(signal, Arc::clone(&stopping)).map_err(failed)?;
        }
        Ok(Self { stream: Stream::new([SIGHUP, SIGTERM, SIGINT]).map_err(failed)? })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        match self.stream.next().await {
            Some(SIGHUP) => Signal::Reload,
            // The stream ends only when it is closed, which nobody does.
            _ => Signal::Stop,
        }
    }
}
