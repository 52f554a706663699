//! The window, through real sockets with a client that knows nothing but HTTP/1.1's bytes.

use chrono::{DateTime, TimeDelta, Utc};
use litekeeper::error::Reason;
use litekeeper::http::{self, Readiness, Window};
use litekeeper::metrics::{Expected, Metrics};
use litekeeper::state::status::{
    CheckStatus, ConfigState, DatabaseStatus, DiskFree, HandedOver, JobStatus, LastRun, Measure, Progress,
    Reload, RunStatus, Severity, SlowShape, Status, TableStatus, Trend, WalPinned,
};
use litekeeper::terms::JobKind;
use litekeeper::terms::Outcome;
use litekeeper::terms::Verdict;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const EVIL: &str = "<script>alert('1')</script>\"&";

fn empty_status() -> Status {
    let now = litekeeper::clock::now();
    Status {
        version: "1.2.3".into(),
        sqlite_version: "3.53.2".into(),
        pid: Some(4711),
        started: Some(now - TimeDelta::hours(3)),
        now,
        config_path: "/etc/litekeeper/litekeeper.toml".into(),
        config: ConfigState { loaded_at: now - TimeDelta::hours(3), last_reload: None },
        ready: true,
        not_ready: Vec::new(),
        databases: Vec::new(),
    }
}

fn job(kind: JobKind, now: DateTime<Utc>) -> JobStatus {
    JobStatus {
        kind,
        schedule: "@hourly".into(),
        next_run: Some(now + TimeDelta::seconds(241)),
        running: None,
        queued: false,
        postponed: false,
        last: None,
        last_success: None,
    }
}

fn evil_trend(kind: Measure) -> Trend {
    let (bytes, days) = (4096, 30);
    let (week_bytes_per_day, month_bytes_per_day) = (Some(4096.0), Some(1.0));
    Trend { kind, name: EVIL.into(), bytes, days, week_bytes_per_day, month_bytes_per_day }
}

/// A database in whose every text somebody hid markup.
fn evil_database(now: DateTime<Utc>) -> DatabaseStatus {
    let mut failed = job(JobKind::Maintain, now);
    let (started, finished) = (now - TimeDelta::minutes(30), now - TimeDelta::minutes(20));
    let (outcome, reason) = (Outcome::Failure, Some(EVIL.into()));
    failed.last = Some(LastRun {
        id: 7,
        started: Some(started),
        finished: Some(finished),
        outcome,
        reason,
        summary: EVIL.into(),
    });
    failed.schedule = EVIL.into();
    let mut running = job(JobKind::Backup, now);
    let progress = Progress { done: 3, total: Some(4), unit: EVIL.into() };
    running.running = Some(RunStatus { since: started, progress: Some(progress) });
    let detail = EVIL.into();
    DatabaseStatus {
        name: EVIL.into(),
        path: EVIL.into(),
        size_bytes: Some(4096),
        disk_silent_since: None,
        second_name: Some(EVIL.into()),
        free_bytes: Some(0),
        wal_bytes: Some(0),
        wal_pinned: Some(WalPinned { since: started, by: EVIL.into() }),
        handed_over: Some(HandedOver { by: EVIL.into(), since: started }),
        pool: None,
        jobs: vec![running, failed],
        health: vec![CheckStatus { check: EVIL.into(), result: Verdict::Bad, detail, at: Some(started) }],
        newest_backup: None,
        backed_up_until: None,
        verified_backup: None,
        backups: 0,
        damaged_backups: 0,
        copies: Vec::new(),
        backups_error: None,
        tables: vec![TableStatus { table: EVIL.into(), size_bytes: Some(1), rows: Some(2) }],
        slow: vec![SlowShape {
            shape: EVIL.into(),
            count: 1,
            total_seconds: 1.0,
            p95_seconds: Some(1.0),
            max_seconds: 1.0,
        }],
        disk_free: DiskFree::default(),
        trends: [Measure::Content, Measure::Table, Measure::Index].map(evil_trend).into(),
        disk_full_seconds: Some(90.0 * 86_400.0),
    }
}

#[test]
fn a_disk_that_is_full_within_two_weeks_is_a_warning() {
    let mut database = evil_database(Utc::now());
    let about_growth = |database: &DatabaseStatus| {
        let all = database.problems();
        all.into_iter()
            .filter(|p| p.text.contains("grows by"))
            .map(|p| (p.severity, p.text))
            .collect::<Vec<_>>()
    };
    database.disk_full_seconds = Some(14.0 * 86_400.0);
    assert_eq!(about_growth(&database), []);
    database.disk_full_seconds = Some(13.0 * 86_400.0);
    let text = "full in 13 days: the database grows by 4.0 KiB a day, by the last 7 days";
    assert_eq!(about_growth(&database), [(Severity::Warning, text.to_owned())]);
}

struct Daemon {
    address: SocketAddr,
    readiness: Readiness,
    publish: watch::Sender<Arc<Status>>,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Daemon {
    async fn start(status: Status) -> Self {
        let listener = http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (publish, status) = watch::channel(Arc::new(status));
        let metrics = Metrics::new("1.2.3", "3.53.2");
        metrics.add_database(
            "attendance",
            Expected { jobs: &["backup"], tables: &[], queries: &[], copies: &[] },
        );
        let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
        readiness.configured();
        readiness.ticked(Instant::now());
        let window = Window { status, readiness: readiness.clone(), metrics, hosts: Vec::new() };
        let served = tokio::spawn(http::serve(listener, window, shutdown.clone()));
        Self { address, readiness, publish, shutdown, served }
    }

    async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let answer = exchange(self.address, text).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

/// Sends the bytes and reads until the server closes.
async fn exchange(address: SocketAddr, request: String) -> String {
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

struct Answer {
    code: u16,
    head: String,
    body: String,
}

const PATHS: [&str; 6] = ["/", "/metrics", "/healthz", "/readyz", "/api/status", "/style.css"];

#[tokio::test]
async fn every_path_answers_get_with_a_body_and_head_without_one() {
    let daemon = Daemon::start(empty_status()).await;
    for path in PATHS {
        let got = daemon.get(path).await;
        assert_eq!(got.code, 200, "{path}");
        assert!(!got.body.is_empty(), "{path}");
        let head = daemon.request("HEAD", path, "").await;
        assert_eq!((head.code, head.body.as_str()), (200, ""), "{path}");
        assert!(head.head.contains("content-type:"), "{path}: {}", head.head);
    }
}

#[tokio::test]
async fn anything_but_get_and_head_is_refused_with_the_methods_that_are_allowed() {
    let daemon = Daemon::start(empty_status()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for path in ["/", "/metrics", "/healthz", "/nowhere"] {
            let answer = daemon.request(method, path, "Content-Length: 0\r\n").await;
            assert_eq!(answer.code, 405, "{method} {path}");
            assert!(answer.head.contains("\r\nallow: get, head"), "{}", answer.head);
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_says_what_there_is() {
    let daemon = Daemon::start(empty_status()).await;
    let answer = daemon.get("/nowhere").await;
    assert_eq!(answer.code, 404);
    assert!(answer.body.contains("/api/status"));
}

#[tokio::test]
async fn every_answer_forbids_scripts_sniffing_and_reading_from_other_sites() {
    let daemon = Daemon::start(empty_status()).await;
    for path in PATHS.into_iter().chain(["/nowhere"]) {
        let head = daemon.request("GET", path, "Origin: http://elsewhere.example\r\n").await.head;
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'none';"), "{path}: {head}");
        assert!(!head.contains("access-control"), "{path}: {head}");
        if path != "/style.css" {
            assert!(head.contains("cache-control: no-store"), "{path}: {head}");
        }
    }
}

#[tokio::test]
async fn markup_in_names_errors_and_statements_is_shown_and_not_obeyed() {
    let mut status = empty_status();
    status.config_path = EVIL.into();
    status.config.last_reload = Some(Reload { at: status.now, ok: false, message: EVIL.into() });
    status.databases = vec![evil_database(status.now)];
    let daemon = Daemon::start(status).await;
    daemon.readiness.state_written(Some(EVIL.into()));
    let page = daemon.get("/").await;
    assert_eq!(page.code, 200);
    assert!(!page.body.contains("<script"));
    assert!(!page.body.contains("\"&\""), "a quote ended an attribute");
    // Path of the configuration, reload, readiness, name, path, schedule, summary, check, detail,
    // unit, table, shape.
    assert!(page.body.matches("&lt;script&gt;").count() >= 12, "{}", page.body);
}

#[tokio::test]
async fn what_is_wrong_stands_above_everything_else() {
    let mut status = empty_status();
    let mut database = evil_database(status.now);
    database.name = "attendance".into();
    database.health[0].detail = "row 7 missing from index idx_a".into();
    status.databases = vec![database];
    let page = Daemon::start(status).await.get("/").await.body;
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text:?} in {page}"));
    assert!(page.contains("<title>3 failures, 3 warnings · litekeeper</title>"), "{page}");
    assert!(page.contains("<b>database</b>"), "the second name: {page}");
    assert!(at("row 7 missing from index idx_a") < at("id=\"db-attendance\""));
    assert!(page.contains(">20 min ago</time>") && page.contains(">in 4 min</time>"));
    assert!(page.contains("75 %"));
}

#[tokio::test]
async fn a_run_that_found_damage_is_not_shown_as_done_and_growth_that_is_not_known_as_a_dash() {
    let mut status = empty_status();
    let mut database = evil_database(status.now);
    let mut deep = job(JobKind::Integrity, status.now);
    let (outcome, reason) = (Outcome::Success, Some(Reason::Damaged.as_str().to_owned()));
    let (started, finished) = (status.now, status.now);
    deep.last = Some(LastRun {
        id: 8,
        started: Some(started),
        finished: Some(finished),
        outcome,
        reason,
        summary: "checked".into(),
    });
    database.jobs = vec![deep];
    let unknown = Trend {
        week_bytes_per_day: None,
        month_bytes_per_day: None,
        days: 1,
        ..evil_trend(Measure::Content)
    };
    database.trends = vec![unknown];
    database.disk_full_seconds = None;
    status.databases = vec![database];
    let page = Daemon::start(status).await.get("/").await.body;
    assert!(page.contains(">found damage<") && !page.contains(">done<"), "{page}");
    assert!(
        page.contains("<dt>Growth</dt><dd>–</dd><dd class=\"quiet\">how fast it grows is told after 3 days"),
        "{page}"
    );
}

#[tokio::test]
async fn a_daemon_without_databases_says_how_to_name_the_first() {
    let page = Daemon::start(empty_status()).await.get("/").await.body;
    assert!(page.contains("[database.NAME]"));
}

#[tokio::test]
async fn a_snapshot_that_is_not_renewed_is_said_to_be_old() {
    let daemon = Daemon::start(empty_status()).await;
    assert!(!daemon.get("/").await.body.contains("old picture"));
    let mut status = empty_status();
    status.now -= TimeDelta::seconds(31);
    daemon.publish.send(Arc::new(status)).unwrap();
    let page = daemon.get("/").await.body;
    assert!(page.contains("old picture") && page.contains("<title>No news ·"), "{page}");
}

#[tokio::test]
async fn the_json_is_the_snapshot() {
    let mut status = empty_status();
    status.databases = vec![evil_database(status.now)];
    let daemon = Daemon::start(status.clone()).await;
    let answer = daemon.get("/api/status").await;
    assert!(answer.head.contains("content-type: application/json"));
    assert_eq!(serde_json::from_str::<Status>(&answer.body).unwrap(), status);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["databases"][0]["jobs"][1]["last"]["outcome"], "failure");
    assert_eq!(json["databases"][0]["health"][0]["result"], "bad");
    assert!(json["now"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_accept_asks_for() {
    let daemon = Daemon::start(empty_status()).await;
    let plain = daemon.get("/metrics").await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", plain.head);
    assert!(plain.body.contains("litekeeper_job_runs_total{database=\"attendance\",task=\"backup\""));
    let open =
        daemon.request("GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n").await;
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn readyz_turns_with_the_state_and_healthz_does_not() {
    let daemon = Daemon::start(empty_status()).await;
    assert_eq!(daemon.get("/readyz").await.code, 200);
    daemon.readiness.state_written(Some("No space left on device".into()));
    let answer = daemon.get("/readyz").await;
    assert_eq!(answer.code, 503);
    assert_eq!(answer.body, "the state cannot be written: No space left on device\n");
    let json: Status = serde_json::from_str(&daemon.get("/api/status").await.body).unwrap();
    assert!(!json.ready);
    assert_eq!(daemon.get("/healthz").await.code, 200);
    daemon.readiness.state_written(None);
    assert_eq!(daemon.get("/readyz").await.code, 200);
    daemon.readiness.stopping();
    assert_eq!(daemon.get("/readyz").await.code, 503);
}

#[test]
fn a_new_daemon_is_not_ready_and_one_whose_scheduler_stands_still_is_not_either() {
    let (readiness, start) = (Readiness::default(), Instant::now());
    assert_eq!(readiness.reasons(start).len(), 2, "{:?}", readiness.reasons(start));
    readiness.configured();
    readiness.ticked(start);
    assert_eq!(readiness.reasons(start + Duration::from_secs(10)), [""; 0]);
    let late = readiness.reasons(start + Duration::from_secs(11));
    assert_eq!(late, ["the scheduler has not ticked for 11 s"]);
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let daemon = Daemon::start(empty_status()).await;
    let error = http::bind(daemon.address).await.unwrap_err();
    assert_eq!(error.reason, Reason::Io);
    assert!(error.message.contains(&daemon.address.to_string()), "{error}");
    assert!(error.message.contains("daemon.listen"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_server_though_a_client_does_not_read_its_answers() {
    let daemon = Daemon::start(empty_status()).await;
    let address = daemon.address;
    let ask_without_reading = move || {
        let mut deaf = TcpStream::connect(address).unwrap();
        deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        // Once the server cannot get its answers rid, it takes no more requests.
        while deaf.write_all(requests.as_bytes()).is_ok() {}
        deaf
    };
    let _deaf = tokio::task::spawn_blocking(ask_without_reading).await.unwrap();
    daemon.shutdown.cancel();
    daemon.served.await.unwrap();
    assert!(TcpStream::connect(address).is_err());
}
