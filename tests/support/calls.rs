//! Work on a connection of a pool, as a run has it: on a thread of its own, which ends when nobody
//! waits any more.

use litekeeper::error::Result;
use litekeeper::pool::{Call, Pool};
use rusqlite::Connection;
use std::future::Future;
use std::pin::Pin;

pub trait OnThread {
    fn on_thread<T, F>(&self, call: &Call, work: F) -> Pin<Box<dyn Future<Output = Result<T>> + Send>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static;
}

impl OnThread for Pool {
    fn on_thread<T, F>(&self, call: &Call, work: F) -> Pin<Box<dyn Future<Output = Result<T>> + Send>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let (pool, call) = (self.clone(), call.clone());
        Box::pin(async move {
            let limits = call.clone();
            call.on_thread(move || pool.run(&limits, work)).await
        })
    }
}
