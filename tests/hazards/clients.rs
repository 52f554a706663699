//! Clients that ask nothing, read nothing, or come by the thousand (HAZARDS H27).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::{self, wait_for_run};
use crate::support::http::request;
use crate::support::sandbox::Sandbox;
use crate::support::{PATIENCE, wait_until};

/// The number of connections that another process has opened to the daemon and holds. Of an answer
/// to what it sends it reads the first byte on each.
struct Crowd(Child);

impl Crowd {
    fn new(address: SocketAddr, connections: usize, send: &str) -> Self {
        const CROWD: &str = "import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for _ in range(int(sys.argv[3])):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((sys.argv[1], int(sys.argv[2])))
    try:
        s.sendall(sys.argv[4].encode())
    except OSError:
        pass
    held.append(s)
if sys.argv[4]:
    for s in held:
        s.recv(1)
print('held', flush=True)
sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-I", "-c", CROWD, &address.ip().to_string(), &address.port().to_string()]);
        command.args([&connections.to_string(), send]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Self(child)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn h27_a_thousand_idle_connections_stop_no_backup() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configure(BACKUP_EACH_SECOND);
    let daemon = Daemon::spawn(&configuration, |command| {
        let mut limited = Command::new("prlimit");
        limited.arg("--nofile=1024:1024").arg(command.get_program()).args(command.get_args());
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = limited;
    });
    let _crowd = Crowd::new(daemon.address(), 1100, "");
    let before = history::newest(&sandbox);
    wait_for_run(&sandbox, "backup", before, "success");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid().as_raw_nonzero())).unwrap().count();
    assert!(descriptors < 200, "{descriptors} descriptors are open");
    // Those who say nothing are sent away, and there is room again.
    wait_until("the daemon answers again", || {
        daemon.get("/healthz").ok().filter(|answer| answer.status == 200).map(drop)
    });
}

#[test]
fn h27_who_does_not_send_a_request_is_sent_away() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    for begun in ["", "GET /metrics HTTP/1.1\r\nHost: local"] {
        let mut silent = TcpStream::connect(daemon.address()).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        silent.write_all(begun.as_bytes()).unwrap();
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}

fn memory(daemon: &Daemon, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn h27_clients_that_do_not_read_take_no_more_memory_than_one() {
    const DATABASES: usize = 250;
    let sandbox = Sandbox::new();
    let names = (0..DATABASES).map(|n| {
        let name = format!("d{n}-{}", "x".repeat(58));
        format!("[database.{name}]\npath = \"{}\"\n", sandbox.data().join(format!("{n}.sqlite")).display())
    });
    let daemon = Daemon::start(&sandbox.configure(&names.collect::<String>()));
    let page = daemon.get("/metrics").unwrap().body.len() as u64 >> 10;
    assert!(page > 1 << 10, "a page of {page} KiB shows nothing");
    let before = memory(&daemon, "VmHWM:");
    let _crowd = Crowd::new(daemon.address(), 60, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // All of them have been answered; and somebody else still is.
    wait_until("the daemon answers", || {
        daemon.get("/metrics").ok().filter(|answer| answer.status == 200).map(drop)
    });
    let more = memory(&daemon, "VmHWM:").saturating_sub(before);
    assert!(more < 12 * page, "{more} KiB more for 60 clients, of a page of {page} KiB");
}

#[test]
fn h27_a_name_that_somebody_else_owns_is_not_answered() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configure("[daemon]\nhosts = [\"status.example.org\"]\n");
    let daemon = Daemon::start(&configuration);
    let asked = |path: &str, headers: &str| {
        request(daemon.address(), &format!("GET {path} HTTP/1.0\r\n{headers}\r\n")).unwrap()
    };
    for path in ["/", "/metrics", "/api/status", "/healthz", "/readyz", "/style.css"] {
        let refused = asked(path, "Host: evil.example:9742\r\n");
        assert_eq!(refused.status, 421, "{path}");
        assert!(refused.body.contains("daemon.hosts"), "{}", refused.body);
        for host in ["127.0.0.1:9742", "localhost", "prometheus-target:9742", "status.example.org"] {
            assert_eq!(asked(path, &format!("Host: {host}\r\n")).status, 200, "{path} {host}");
        }
        assert_eq!(asked(path, "").status, 200, "{path}");
    }
}
