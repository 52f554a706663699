//! What the service manager is told of the daemon's start and of how it is: when others may count on
//! it, and the line that `systemctl status` shows. Must never tell of a start that is not one.

use std::time::Instant;

use super::Supervisor;
use super::systemd::Systemd;
use crate::survey::overview::Live;

impl Supervisor {
    /// Tells that the daemon has started, once it has.
    pub(super) fn end_beginning(&mut self) {
        let Some(beginning) = &self.beginning else { return };
        let reasons = self.readiness.reasons(Instant::now());
        let is_ready = reasons.is_empty() && self.view.borrow().ready;
        if !is_ready && !beginning.is_over() {
            return;
        }
        if !is_ready {
            let why = if reasons.is_empty() {
                String::from("nothing is known of the databases yet")
            } else {
                reasons.join("; ")
            };
            tracing::error!("the daemon has started and is not ready: {why}; it does what it can");
        }
        Systemd::ready();
        if let Some(beginning) = self.beginning.take() {
            beginning.end(self.door.listening().borrow().address);
        }
    }

    /// What `systemctl status` shows: what is wrong with the daemon itself comes first.
    pub(super) fn in_a_line(&self, live: &Live) -> String {
        let mut wrong = self.readiness.reasons(Instant::now());
        if self.beginning.is_some() {
            // Of what has only not come yet.
            wrong.clear();
        }
        wrong.extend(self.door.listening().borrow().error.clone());
        wrong.push(live.in_a_line());
        wrong.join("; ")
    }
}
