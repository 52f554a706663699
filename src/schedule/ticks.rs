//! The beat: one tick a second, and the only place that names tokio-cron-scheduler. Must decide
//! nothing.
//!
//! What that scheduler does not do, and why it only ticks here: it freezes a zone as the offset of
//! the moment (an hour wrong after a change of daylight saving), lets runs of one job overlap,
//! catches nothing up, waits for nothing when it removes a job or stops, and its cron jobs stand
//! still while a clock that was set back makes good the time. Zones are `calendar`'s, overlap
//! `admission`'s, missed runs `catch_up`'s, spreading `jitter`'s; the clock is mended below.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError, MetaDataStorage};
use tokio_cron_scheduler::{
    SimpleJobCode, SimpleMetadataStore, SimpleNotificationCode, SimpleNotificationStore,
};
use uuid::Uuid;

use crate::clock;
use crate::error::{Error, Reason, Result};

/// Ticks that wait to be taken. A reader that is late by more finds one tick, not a row of them.
const WAITING: usize = 1;

/// Size of the scheduler's own channels, which carry one message or two a second.
const CHANNEL: usize = 16;

/// The running tick source.
pub struct Ticks {
    scheduler: JobScheduler,
    sender: Arc<Mutex<Option<mpsc::Sender<()>>>>,
}

/// Starts ticking. The receiver ends when [`Ticks::stop`] was called.
pub async fn start() -> Result<(Ticks, mpsc::Receiver<()>)> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let sender = Arc::new(Mutex::new(Some(sender)));
    let scheduler = schedule(Arc::clone(&sender)).await.map_err(|cause| {
        Error::new(
            Reason::Panic,
            format!("the scheduler's tick source does not start ({cause}); please report this"),
        )
    })?;
    Ok((Ticks { scheduler, sender }, receiver))
}

async fn schedule(sender: Arc<Mutex<Option<mpsc::Sender<()>>>>) -> Result<JobScheduler, JobSchedulerError> {
    let tick = Job::new("* * * * * *", move |_, _| {
        if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // A full channel holds a tick already; a closed one has nobody to tell.
            let _ = sender.try_send(());
        }
    })?;
    let scheduler = JobScheduler::new_with_storage_and_code(
        Box::new(Steady(SimpleMetadataStore::default())),
        Box::new(SimpleNotificationStore::default()),
        Box::new(SimpleJobCode::default()),
        Box::new(SimpleNotificationCode::default()),
        CHANNEL,
    )
    .await?;
    scheduler.add(tick).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

impl Ticks {
    /// Stops ticking: no tick is sent after this returns.
    pub async fn stop(mut self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(cause) = self.scheduler.shutdown().await {
            tracing::debug!(%cause, "the tick source did not confirm its end");
        }
    }
}

impl std::fmt::Debug for Ticks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticks").finish_non_exhaustive()
    }
}

/// The scheduler's store in memory, but for one thing: a tick that lies further ahead than the next
/// second, because the clock was set back since it was reckoned, is due at once.
struct Steady(SimpleMetadataStore);

type Time = DateTime<Utc>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

impl MetaDataStorage for Steady {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let listed = self.0.list_next_ticks();
        Box::pin(async move {
            // Zero would mean a job that has ended.
            let now = u64::try_from(clock::now().timestamp()).unwrap_or(0).max(1);
            let mut ticks = listed.await?;
            for tick in ticks.iter_mut().filter(|tick| tick.next_tick > now + 1) {
                tick.next_tick = now;
                tick.last_tick = None;
            }
            Ok(ticks)
        })
    }

    fn set_next_and_last_tick(&mut self, job: Uuid, next: Option<Time>, last: Option<Time>) -> Answer<()> {
        self.0.set_next_and_last_tick(job, next, last)
    }

    fn time_till_next_job(&mut self) -> Answer<Option<std::time::Duration>> {
        self.0.time_till_next_job()
    }
}

impl DataStore<JobStoredData> for Steady {
    fn get(&mut self, job: Uuid) -> Answer<Option<JobStoredData>> {
        self.0.get(job)
    }

    fn add_or_update(&mut self, data: JobStoredData) -> Answer<()> {
        self.0.add_or_update(data)
    }

    fn delete(&mut self, job: Uuid) -> Answer<()> {
        self.0.delete(job)
    }
}

impl InitStore for Steady {
    fn init(&mut self) -> Answer<()> {
        self.0.init()
    }

    fn inited(&mut self) -> Answer<bool> {
        self.0.inited()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_at_once_when_the_clock_was_set_back() {
        let mut store = Steady(SimpleMetadataStore::default());
        let mut job = Job::new("* * * * * *", |_, _| ()).unwrap();
        let mut data = job.job_data().unwrap();
        let an_hour_ahead = clock::now() + chrono::TimeDelta::hours(1);
        data.next_tick = u64::try_from(an_hour_ahead.timestamp()).unwrap();
        data.last_tick = Some(data.next_tick - 1);
        store.add_or_update(data).await.unwrap();

        let listed = store.list_next_ticks().await.unwrap();

        // The scheduler fires what lies not after its clock and was not reckoned after its last
        // tick.
        assert!(i64::try_from(listed[0].next_tick).unwrap() <= clock::now().timestamp());
        assert_eq!(listed[0].last_tick, None);
    }
}
