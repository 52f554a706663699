//! How connections are opened: deadpool's builder and hooks.

use std::path::Path;

use deadpool_sqlite::{Config, Hook, HookError, Runtime, Timeouts};

use super::session;
use crate::config;
use crate::error::{Error, Reason, Result};
use crate::sqlite::open;

/// A pool that opens connections to an existing file and sets them up.
pub(super) fn build(path: &Path, settings: &config::Pool) -> Result<deadpool_sqlite::Pool> {
    let own_path = path.to_owned();
    let set_up = Hook::async_fn(move |connection, _| {
        let path = own_path.clone();
        Box::pin(async move {
            connection
                .interact(move |connection| {
                    session::install(connection)?;
                    open::set_up(connection, &path)?;
                    open::keep_log_on_close(connection)
                })
                .await
                .map_err(|_| HookError::message("setting up the connection panicked"))?
                .map_err(HookError::Backend)
        })
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
        .build()
        .map_err(|e| Error::new(Reason::Config, format!("cannot make the pool: {e}")))
}
