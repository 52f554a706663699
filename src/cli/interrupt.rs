//! TERM and INT while a verb works: the first asks it to stop and to leave nothing half done, a
//! second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// A token that the first signal cancels. Once per process.
pub(super) fn token() -> Result<CancellationToken> {
    let failed = |e| Error::io("cannot handle signals", &e);
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag down, and raises it for the second.
        flag::register_conditional_shutdown(signal, super::exit::FAILED.into(), Arc::clone(&stopping))
            .map_err(failed)?;
        flag::register(signal, Arc::clone(&stopping)).map_err(failed)?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            cancel.cancel();
        }
    });
    Ok(token)
}
