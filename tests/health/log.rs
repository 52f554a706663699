//! All that this process logs. A process has one subscriber: the tests share it, installed by the
//! first that asks, and each finds its own lines by the name of its database. Without times: a test
//! looks for digits that must not be there.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn of_this_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time();
            subscriber.with_writer(move || writer.clone()).init();
            log
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// Those that have all of `with`.
    pub(crate) fn lines(&self, with: &[&str]) -> Vec<String> {
        let log = String::from_utf8(self.bytes()).unwrap();
        log.lines().filter(|line| with.iter().all(|w| line.contains(w))).map(str::to_owned).collect()
    }
}
