//! The other side of the window: asks a running daemon for its status. Believes nothing that it
//! does not understand, and waits for nobody for long.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::state::status::Status;

/// A daemon on this machine answers from memory.
const CONNECTING: Duration = Duration::from_secs(1);
const ANSWERING: Duration = Duration::from_secs(5);

/// More than a status ever has.
const LONGEST: u64 = 64 << 20;

/// The status of the daemon that keeps the configuration in `path` and listens on `listen`. `None`
/// where nobody answers, or another program or another configuration's daemon.
pub fn status(listen: SocketAddr, path: &Path) -> Option<Status> {
    let body = get(reachable(listen), "/api/status").ok()??;
    let status: Status = serde_json::from_slice(&body).ok()?;
    is_same(Path::new(&status.config_path), path).then_some(status)
}

/// A server that listens on every address is asked on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether both name the same file, the first by its full path.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    one.is_absolute() && real(one) == real(other)
}

/// The body of a 200; `None` for any other answer. HTTP/1.0, so that it comes whole and unchunked.
fn get(address: SocketAddr, path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECTING)?;
    stream.set_write_timeout(Some(ANSWERING))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let until = Instant::now() + ANSWERING;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Of nothing left, set_read_timeout makes an error.
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
        if answer.len() as u64 > LONGEST {
            return Ok(None);
        }
    }
    let is_ok = answer.starts_with(b"HTTP/1.0 200 ") || answer.starts_with(b"HTTP/1.1 200 ");
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    Ok(head.filter(|_| is_ok).map(|end| answer.split_off(end + 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_the_loopback() {
        let cases = [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("127.0.0.2:80", "127.0.0.2:80"),
        ];
        for (listen, asked) in cases {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
