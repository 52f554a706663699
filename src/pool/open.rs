//! How connections are opened and replaced: deadpool's builder and hooks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_sqlite::{Config, Hook, HookError, Runtime, Timeouts};

use super::session;
use crate::config;
use crate::error::{Error, Reason, Result};
use crate::sqlite::open;

/// A pool that opens connections to an existing file, sets them up, and replaces those older than
/// `settings.recycle` when they are next asked for.
pub(super) fn build(
    path: &Path,
    settings: &config::Pool,
    recycled: Arc<AtomicU64>,
) -> Result<deadpool_sqlite::Pool> {
    let recycle = settings.recycle;
    let own_path = path.to_owned();
    let set_up = Hook::async_fn(move |connection, _| {
        let path = own_path.clone();
        Box::pin(async move {
            connection
                .interact(move |connection| {
                    session::install(connection)?;
                    open::set_up(connection, &path)
                })
                .await
                .map_err(|_| HookError::message("setting up the connection panicked"))?
                .map_err(HookError::Backend)
        })
    });
    let replace_old = Hook::sync_fn(move |_, metrics| {
        if metrics.age() < recycle {
            return Ok(());
        }
        recycled.fetch_add(1, Ordering::Relaxed);
        Err(HookError::message("older than pool.recycle"))
    });
    let timeouts = Timeouts {
        wait: Some(settings.timeout),
        create: Some(settings.timeout),
        // Without it a connection that hangs would hang every later caller.
        recycle: Some(settings.timeout),
    };
    Config::new(open::uri(path))
        .builder(Runtime::Tokio1)
        .unwrap_or_else(|never| match never {})
        .max_size(settings.size + settings.max_overflow)
        .timeouts(timeouts)
        .post_create(set_up)
        .pre_recycle(replace_old)
        .build()
        .map_err(|e| Error::new(Reason::Config, format!("cannot make the pool: {e}")))
}
