//! WINDOW: what can be seen of the daemon over HTTP. GET and HEAD only. Knows the status snapshot,
//! the readiness and the metrics, and nothing else: a request never opens a database, never waits
//! for a job and never changes anything.
//!
//! There is no authentication: the default address is the loopback one, everything here is safe to
//! read twice, and whoever opens it to a network puts a proxy in front. Any user of this machine
//! may connect, and any site may have his browser try: see [`mod@serve`] and [`hosts`].

pub mod ask;
mod door;
mod hosts;
mod page;
mod ready;
mod serve;
mod shared;

pub use door::{Door, Listening};
pub use ready::Readiness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::metrics::{Format, Metrics};
use crate::state::status::Status;
use hosts::Hosts;
use shared::SharedPage;

/// What the window looks upon.
#[derive(Debug, Clone)]
pub struct Window {
    /// The newest status snapshot.
    pub status: watch::Receiver<Arc<Status>>,
    /// Whether the daemon does its work.
    pub readiness: Readiness,
    /// The series.
    pub metrics: Metrics,
    /// `daemon.hosts`.
    pub hosts: Vec<String>,
}

/// What the routes share.
#[derive(Debug, Clone)]
struct Views {
    window: Window,
    /// By the snapshot that it shows, and why the daemon is not ready.
    page: SharedPage<Shown>,
    status: SharedPage<Shown>,
    text: SharedPage<()>,
    open: SharedPage<()>,
}

/// After the shutdown, how long answers under way may take before their connections are cut.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Takes the address. What keeps it away is named with the key, and with what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| {
        use std::io::ErrorKind as K;
        let advice = match cause.kind() {
            K::AddrInUse => format!(
                "another process has that port (`ss -ltnp 'sport = :{}'` names it): stop it, or set daemon.listen to another address or to \"off\"",
                address.port()
            ),
            K::AddrNotAvailable => {
                "no interface of this machine has that address: set daemon.listen to one that it has".to_owned()
            }
            K::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE: set daemon.listen to a higher one".to_owned()
            }
            _ => return Error::io(format!("cannot listen on {address}"), &cause),
        };
        // Not a matter of the configuration alone: what holds the port now may be gone at the next
        // start.
        let reason = if cause.kind() == K::PermissionDenied { Reason::Permission } else { Reason::Io };
        Error::new(reason, format!("cannot listen on {address}: {advice}"))
    })
}

/// Answers until `shutdown`, then finishes the answers under way.
pub async fn serve(listener: TcpListener, window: Window, shutdown: CancellationToken) {
    let hosts = Hosts::new(listener.local_addr().ok(), &window.hosts);
    serve::serve(listener, router(window, hosts), shutdown, LAST_ANSWERS).await;
}

fn router(window: Window, hosts: Hosts) -> Router {
    let (page, status) = (SharedPage::default(), SharedPage::default());
    let views = Views { window, page, status, text: SharedPage::default(), open: SharedPage::default() };
    let named = from_fn(move |request: Request, next: Next| known_by(hosts.clone(), request, next));
    Router::new()
        .route("/", get(status_page))
        .route("/style.css", get(style))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/api/status", get(api_status))
        .fallback(async || (StatusCode::NOT_FOUND, NOT_FOUND))
        .layer(named)
        .layer(from_fn(guard))
        .with_state(views)
}

const NOT_FOUND: &str = "There is nothing here. See / /metrics /healthz /readyz /api/status\n";

/// Refuses a request that was meant for somebody else's name. One without a name comes from no
/// browser.
async fn known_by(hosts: Hosts, request: Request, next: Next) -> Response {
    let name = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if name.is_none_or(|name| hosts.allow(name)) {
        return next.run(request).await;
    }
    let text = "litekeeper is not known by this name. Use its address, or add the name to daemon.hosts.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Refuses every method but GET and HEAD on every path, and puts the headers on every answer. No
/// CORS header is ever sent, so scripts of other sites cannot read anything.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if matches!(*request.method(), Method::GET | Method::HEAD) {
        next.run(request).await
    } else {
        let allow = [(header::ALLOW, "GET, HEAD")];
        (StatusCode::METHOD_NOT_ALLOWED, allow, "Only GET and HEAD: litekeeper is not changed over HTTP.\n")
            .into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// For every answer that does not say otherwise itself.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

impl Window {
    /// The newest snapshot, with the readiness of this moment: a snapshot that is no longer renewed
    /// would go on calling the daemon ready.
    fn shown(&self) -> Shown {
        Shown {
            snapshot: Arc::clone(&self.status.borrow()),
            not_ready: self.readiness.reasons(Instant::now()),
        }
    }
}

#[derive(Debug, Clone)]
struct Shown {
    snapshot: Arc<Status>,
    not_ready: Vec<String>,
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.snapshot, &other.snapshot) && self.not_ready == other.not_ready
    }
}

impl Shown {
    fn status(&self) -> Status {
        let not_ready = self.not_ready.clone();
        Status { ready: not_ready.is_empty(), not_ready, ..Status::clone(&self.snapshot) }
    }
}

/// How old what is shared may be. The snapshot is a second old at most, and so are most numbers
/// behind the metrics.
const FRESH: Duration = Duration::from_secs(1);

async fn status_page(State(views): State<Views>) -> Html<Bytes> {
    let shown = views.window.shown();
    let make = || page::render(&shown.status(), clock::now()).into_string();
    Html(views.page.get(shown.clone(), FRESH, make).await)
}

/// The page names it with the version, so that it may be kept.
async fn style() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=86400")];
    (headers, include_str!("page/page.css")).into_response()
}

async fn metrics(State(views): State<Views>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let format = Format::negotiate(accept);
    let about = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    let shared = match format {
        Format::Text => &views.text,
        Format::OpenMetrics => &views.open,
    };
    (about, shared.get((), FRESH, || views.window.metrics.render(format)).await).into_response()
}

async fn readyz(State(views): State<Views>) -> Response {
    let reasons = views.window.readiness.reasons(Instant::now());
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}

#[expect(clippy::expect_used, reason = "a structure of ours with string keys is always JSON")]
async fn api_status(State(views): State<Views>) -> Response {
    let shown = views.window.shown();
    let make = || serde_json::to_string(&shown.status()).expect("JSON");
    let json = views.status.get(shown.clone(), FRESH, make).await;
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}
