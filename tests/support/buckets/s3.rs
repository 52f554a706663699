//! A real S3 server on loopback, moto's, one for the test process and gone with it; and between it
//! and us a proxy that fails as networks and servers do.

use litekeeper::store::{Connector, Patience};
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::Duration;

pub const KEY: &str = "AKIATESTTESTTEST";
/// Nothing that we write may ever hold it.
pub const SECRET: &str = "sEcReT0000doNotShowThis1111";

/// A server with buckets.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    pub address: SocketAddr,
}

/// The server of this process; `None`, which is an error under CI, where there is no moto.
pub fn server() -> Option<Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    *SERVER.get_or_init(|| start(0))
}

/// One of its own that asks for signatures and for permission after so many requests.
pub fn guarded_after(requests: u32) -> Option<Server> {
    start(requests)
}

fn start(unguarded: u32) -> Option<Server> {
    let Some(program) = installed("moto/bin/moto_server") else {
        missing("moto_server");
        return None;
    };
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
    if unguarded > 0 {
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", unguarded.to_string());
    }
    Some(Server { address: launch(&command, "Running on http://") })
}

/// Says that a test did not run, which under CI is a failure.
pub fn missing(what: &str) {
    crate::support::skip(&format!("no {what}: tests/run installs it for its stage `test`"));
}

/// What tests/run has put into its cache under this name.
pub fn installed(name: &str) -> Option<PathBuf> {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = home("XDG_CACHE_HOME").or_else(|| Some(home("HOME")?.join(".cache")))?;
    Some(cache.join("litekeeper-tests").join(name)).filter(|path| path.is_file())
}

/// Starts a server that ends with this process, and gives the address that it says after `word`.
pub fn launch(command: &Command, word: &'static str) -> SocketAddr {
    // The kernel ends it with the thread that started it, which ends with the process, however that
    // ends.
    let mut ending = Command::new("setpriv");
    ending.args(["--pdeathsig", "KILL", "sh", "-c", "exec \"$0\" \"$@\" 2>&1"]);
    ending.arg(command.get_program()).args(command.get_args());
    ending.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ending.stdin(Stdio::null()).stdout(Stdio::piped());
    let (tell, address) = mpsc::channel();
    std::thread::spawn(move || {
        let mut child = ending.spawn().expect("setpriv runs");
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let Some((_, url)) = line.split_once(word) {
                tell.send(url.trim().parse::<SocketAddr>().unwrap()).unwrap();
            }
        }
        child.wait().unwrap();
    });
    address.recv().expect("the server says where it listens")
}

impl Server {
    /// Makes a bucket that nobody else has, and gives its name.
    pub fn bucket(self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (status, answer) = self.ask("PUT", &format!("/{name}"));
        assert_eq!(status, 200, "{answer}");
        name
    }

    /// What it says to a request of its own, unsigned: moto asks for no signature.
    pub fn ask(self, method: &str, path: &str) -> (u16, String) {
        self.ask_with(method, path, "")
    }

    /// With these headers, each ended by CR and LF.
    pub fn ask_with(self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn unfinished_uploads(self, bucket: &str) -> usize {
        let (status, answer) = self.ask("GET", &format!("/{bucket}?uploads"));
        assert_eq!(status, 200, "{answer}");
        answer.matches("<UploadId>").count()
    }

    /// The keys in a bucket, sorted.
    pub fn keys(self, bucket: &str) -> Vec<String> {
        let (status, answer) = self.ask("GET", &format!("/{bucket}?list-type=2"));
        assert_eq!(status, 200, "{answer}");
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split('<').next());
        let mut keys: Vec<String> = keys.map(str::to_owned).collect();
        keys.sort();
        keys
    }
}

/// Gives up soon.
pub fn patience() -> Patience {
    Patience { retries: 3, first_pause: Duration::from_millis(5), longest_pause: Duration::from_millis(50) }
}

/// A client of a bucket at this address.
pub fn client(address: SocketAddr, bucket: &str, timeout: Duration) -> Arc<dyn ObjectStore> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = AmazonS3Builder::new()
        .with_http_connector(Connector)
        .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(timeout))
        .with_endpoint(format!("http://{address}"))
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .with_bucket_name(bucket)
        .with_disable_bulk_delete(true)
        .with_retry(patience().into())
        .build();
    Arc::new(client.unwrap())
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Closed at once.
    Close,
    /// Answered with this status, whatever is asked.
    Status(u16),
    /// Cut when so many bytes have gone to the server.
    CutUp(u64),
    /// Cut when so many bytes have come from the server.
    CutDown(u64),
    /// Never answered.
    Stall,
    /// Cut when the server has completed an upload and says so.
    LoseCompletion,
    /// Not answered when the server has removed something and says so.
    LoseRemoval,
}

/// A proxy before the server.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// And how many times more.
    fault: Mutex<Option<(Fault, u32)>>,
    /// A connection that was there before a fault would not meet it.
    open: Mutex<HashMap<u64, [TcpStream; 2]>>,
    faults: AtomicU64,
    down: AtomicU64,
    happened: Condvar,
    happening: Mutex<()>,
}

impl Proxy {
    pub fn before(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
        let of_proxy = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let Some(shared) = of_proxy.upgrade() else { return };
                std::thread::spawn(move || shared.serve(number as u64, client, server.address));
            }
        });
        Self { address, shared }
    }

    /// From now on so many connections fail like this.
    pub fn fail(&self, fault: Fault, times: u32) {
        *self.shared.fault.lock().unwrap() = Some((fault, times));
        for streams in self.shared.open.lock().unwrap().values() {
            for stream in streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// From now on all is well.
    pub fn heal(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }

    /// How many connections have failed.
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }

    /// Waits until so many have.
    pub fn wait_for_faults(&self, count: u64) {
        let guard = self.shared.happening.lock().unwrap();
        let waited = self
            .shared
            .happened
            .wait_timeout_while(guard, Duration::from_secs(60), |()| self.faults() < count);
        assert!(!waited.unwrap().1.timed_out(), "waited in vain for {count} failed connections");
    }

    /// Bytes that came from the server.
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The thread that listens looks whether anybody still wants it.
        self.shared.fault.lock().unwrap().replace((Fault::Close, u32::MAX));
    }
}

impl Shared {
    /// Whether this fault happens now.
    fn happens(&self, meant: impl Fn(Fault) -> bool) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        let now = fault.filter(|(now, times)| *times > 0 && meant(*now))?;
        *fault = Some((now.0, now.1.saturating_sub(u32::from(now.1 != u32::MAX))));
        drop(fault);
        let _happening = self.happening.lock().unwrap();
        self.faults.fetch_add(1, Ordering::SeqCst);
        self.happened.notify_all();
        Some(now.0)
    }

    fn serve(self: Arc<Self>, number: u64, mut client: TcpStream, server: SocketAddr) {
        match self.happens(|fault| matches!(fault, Fault::Close | Fault::Status(_) | Fault::Stall)) {
            Some(Fault::Status(status)) => return answer(&mut client, status),
            Some(Fault::Stall) => {
                // Until the client gives up.
                let _ = std::io::copy(&mut client, &mut std::io::sink());
                return;
            }
            Some(_) => return,
            None => {}
        }
        let Ok(upstream) = TcpStream::connect(server) else { return };
        let both = [client.try_clone().unwrap(), upstream.try_clone().unwrap()];
        self.open.lock().unwrap().insert(number, both);
        let (from_client, to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        let this = Arc::clone(&self);
        let completing = Arc::new(AtomicBool::new(false));
        let removing = Arc::new(AtomicBool::new(false));
        let (request, removal) = (Arc::clone(&completing), Arc::clone(&removing));
        let up = std::thread::spawn(move || {
            pass_on(from_client, to_server, |done, bytes| {
                let head = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
                if head.contains(" HTTP/1.1") {
                    request.store(head.starts_with("POST ") && head.contains("uploadId="), Ordering::SeqCst);
                    // Azure's are posted.
                    let is_removal = head.starts_with("DELETE ") || head.contains("comp=batch");
                    removal.store(is_removal, Ordering::SeqCst);
                }
                this.happens(|fault| matches!(fault, Fault::CutUp(after) if done > after))
            });
        });
        pass_on(upstream, client, |done, bytes| {
            self.down.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            self.happens(|fault| match fault {
                Fault::CutDown(after) => done > after,
                Fault::LoseCompletion => completing.load(Ordering::SeqCst),
                Fault::LoseRemoval => removing.load(Ordering::SeqCst),
                _ => false,
            })
        });
        up.join().unwrap();
        self.open.lock().unwrap().remove(&number);
    }
}

/// Passes on until `cut` says so of all the bytes that came so far and the last of them.
fn pass_on(mut from: TcpStream, mut to: TcpStream, cut: impl Fn(u64, &[u8]) -> Option<Fault>) {
    let (mut buffer, mut done) = (vec![0; 64 << 10], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        done += read as u64;
        let fault = cut(done, &buffer[..read]);
        if fault == Some(Fault::LoseRemoval) {
            // Until the client gives up.
            let _ = to.read(&mut [0]);
        }
        if fault.is_some() || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Reads a whole request, so that the answer is not lost with what was not read, and answers it.
fn answer(client: &mut TcpStream, status: u16) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    let _ = write!(client, "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}
