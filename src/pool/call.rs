//! Who asks for a connection, and within which limits.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::session::Limits;
use crate::error::Result;

/// Who asks for a connection, and within which limits.
#[derive(Debug, Clone)]
pub struct Call {
    /// The job, for labels and the slow log.
    pub job: &'static str,
    /// Stops the work and its SQL.
    pub cancel: CancellationToken,
    /// Stops the work and its SQL at this instant.
    pub deadline: Option<Instant>,
    /// Which files its first use found: one run works on one database.
    pub(super) generation: Arc<OnceLock<u64>>,
}

impl Call {
    /// A call, or all those of one run, which clones it.
    pub fn new(job: &'static str, cancel: CancellationToken, deadline: Option<Instant>) -> Self {
        Self { job, cancel, deadline, generation: Arc::default() }
    }

    /// A call of the same run that its end does not stop.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { cancel: CancellationToken::new(), deadline: None, ..self.clone() }
    }

    /// The same call with a limit of its own, counted from now, where that is earlier.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let own = Instant::now() + limit;
        let deadline = self.deadline.map_or(own, |deadline| deadline.min(own));
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// An error when it is cancelled or late. For work between statements.
    pub fn check(&self) -> Result<()> {
        Limits::new(self.deadline, Duration::ZERO, self.cancel.is_cancelled()).check()
    }

    /// Waits until it is cancelled or late.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.late() => {}
        }
    }

    pub(super) async fn late(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    }
}
