//! What systemd is told (sd_notify(3)). Outside a unit of `Type=notify` nobody listens and nothing
//! happens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The line to systemd.
pub(super) struct Systemd {
    watchdog: Option<Duration>,
    fed: Instant,
    status: String,
}

impl Systemd {
    pub(super) fn new() -> Self {
        // Half the limit, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self { watchdog, fed: Instant::now(), status: String::new() }
    }

    /// The service has started, or has finished a reload.
    pub(super) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    /// A reload begins. Both parts must come in one message.
    pub(super) fn reloading() {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The service stops, and may take so long.
    pub(super) fn stopping(at_most: Duration) {
        let micros = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
    }

    /// The line that `systemctl status` shows.
    pub(super) fn status(&mut self, text: &str) {
        if self.status != text {
            text.clone_into(&mut self.status);
            tell(&[NotifyState::Status(text)]);
        }
    }

    /// Called by the supervisor's loop on each turn: what the watchdog watches is that loop,
    /// nothing beside it.
    pub(super) fn alive(&mut self) {
        if self.watchdog.is_some_and(|interval| self.fed.elapsed() >= interval.min(Duration::from_secs(5))) {
            self.fed = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify systemd: {error}");
    }
}
