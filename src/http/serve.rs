//! The connections: how many there may be, and how long they may take. Whoever may connect, and
//! that is every user of this machine, takes no more than this from the daemon: not the descriptors
//! nor the memory that jobs need. Knows nothing of what is asked.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time: more than all who look at one daemon, and few of the 1024 descriptors
/// that a process has.
const MOST: usize = 64;

/// Of the descriptors that this process may have, the listener takes one in so many at most. The
/// others are for jobs.
const SHARE: u64 = 8;

/// How long the head of a request may take, and how long a connection may be silent before the
/// next.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may last, whatever is asked on it; a client then makes another.
const LONGEST: Duration = Duration::from_secs(60);

/// How long the answer that is under way then may still take, for a client that reads slowly or not
/// at all.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// After an error that is not one connection's (no descriptor left), before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 49\r\n\r\nThere are too many connections to litekeeper now.\n";

/// Answers until `shutdown`; then answers under way have `last_answers`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    last_answers: Duration,
) {
    let places = Arc::new(Semaphore::new(most()));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!("no connection can be accepted now: {error}");
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            refuse(&stream);
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        connections.spawn(async move {
            answer(stream, router, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // What is left is dropped, and so cut.
    let _ = tokio::time::timeout(last_answers, all).await;
}

fn most() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / SHARE;
    usize::try_from(descriptors).map_or(MOST, |most| most.clamp(1, MOST))
}

/// One that its client has closed already, or that a filter refuses.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionRefused | K::ConnectionAborted | K::ConnectionReset)
}

/// Without waiting for anything: there is room for the answer in a connection that is new.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(BUSY);
}

async fn answer(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // The answer is written in few pieces; the last need not wait for the client.
    let _ = stream.set_nodelay(true);
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // What went wrong concerns the client, who sees it.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(LONGEST) => {}
        () = shutdown.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
}
