//! The door to the window: takes the address, or asks for it again and again while another process
//! has it. Databases are kept with and without it, so a port that is taken must never end the
//! daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Window, bind, serve};

/// Between two tries. Who has the port may be a daemon that is just ending.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// How long the end waits for a client that reads slowly.
const TO_CLOSE: Duration = Duration::from_secs(2);

/// What became of `daemon.listen`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// Why it does not, though it should.
    pub error: Option<String>,
}

/// The door, open or not.
#[derive(Debug)]
pub struct Door {
    listening: watch::Receiver<Listening>,
    again: Arc<Notify>,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Door {
    /// Takes the address, where there is one, and answers there. Where it cannot be had now, that
    /// is an error in the log, and it is asked for until it can.
    pub async fn open(listen: Option<SocketAddr>, window: Window) -> Self {
        let (tell, listening) = watch::channel(Listening::default());
        let (again, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let mut door = Self { listening, again, stop, serving: None };
        let Some(listen) = listen else { return door };
        let first = tried(listen, &tell).await;
        let (again, stop) = (Arc::clone(&door.again), door.stop.clone());
        door.serving = Some(tokio::spawn(async move {
            let mut listener = first;
            while listener.is_none() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(TRY_EVERY) => {}
                    () = again.notified() => {}
                }
                listener = tried(listen, &tell).await;
            }
            if let Some(listener) = listener {
                serve(listener, window, stop).await;
            }
        }));
        door
    }

    /// What became of the address, now and later.
    pub fn listening(&self) -> watch::Receiver<Listening> {
        self.listening.clone()
    }

    /// Tries at once, where it has no address yet.
    pub fn try_again(&self) {
        if self.listening.borrow().error.is_some() {
            self.again.notify_one();
        }
    }

    /// Finishes the answers under way.
    pub async fn close(self) {
        self.stop.cancel();
        if let Some(serving) = self.serving {
            let _ = tokio::time::timeout(TO_CLOSE, serving).await;
        }
    }
}

/// Tries once. What is wrong is logged where it is news.
async fn tried(listen: SocketAddr, tell: &watch::Sender<Listening>) -> Option<TcpListener> {
    let (listener, now) = match bind(listen).await {
        Ok(listener) => {
            let address = listener.local_addr().unwrap_or(listen);
            tracing::info!(addr = %address, "listening");
            (Some(listener), Listening { address: Some(address), error: None })
        }
        Err(error) => (None, Listening { address: None, error: Some(error.message) }),
    };
    let is_news = tell.send_replace(now.clone()) != now;
    if let Some(error) = now.error.filter(|_| is_news) {
        tracing::error!(
            "{error}; until then nobody can see how the databases are, which are kept all the same; it is tried again \
             every {} seconds",
            TRY_EVERY.as_secs()
        );
    }
    listener
}
