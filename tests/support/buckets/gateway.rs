//! A door before the S3 server, one request on a connection: over TLS, or as Google's.

use super::s3::{self, Server};
use litekeeper::store::Connector;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, ObjectStore};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of Google's; nothing that we write may ever hold it.
pub const TOKEN: &str = "ya29.sEcReT0000doNotShowThis3333";

/// An open door.
#[derive(Clone)]
pub struct Gateway {
    pub address: SocketAddr,
    /// Connections that came.
    count: Arc<AtomicU64>,
}

impl Gateway {
    /// Google's XML interface is S3's but for what counts here: it takes a token in place of a
    /// signature, and says when what is to be removed is not there. No emulator of Google's that a
    /// registry has knows its uploads in parts.
    pub fn of_google(server: Server) -> Self {
        Self::open(move |client| {
            serve(client, server, |method, path, head| {
                let token = format!("authorization: bearer {TOKEN}\r\n").to_lowercase();
                if !head.to_lowercase().contains(&token) {
                    return Some((401, "AuthenticationRequired"));
                }
                let is_missing =
                    method == "DELETE" && !path.contains('?') && server.ask("HEAD", path).0 == 404;
                is_missing.then_some((404, "NoSuchKey"))
            });
        })
    }

    /// With this certificate.
    pub fn of_tls(server: Server, certificate: &Certificate) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = CertificateDer::from_pem_file(&certificate.chain).unwrap();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![chain], key).unwrap());
        Self::open(move |client| {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), client);
            serve(&mut stream, server, |_, _, _| None);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    fn open(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self { address: listener.local_addr().unwrap(), count: Arc::default() };
        let (count, serve) = (Arc::clone(&this.count), Arc::new(serve));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(client));
            }
        });
        this
    }

    pub fn connections(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

/// A client that finds Google at this address.
pub fn client_of_google(address: SocketAddr, bucket: &str, timeout: Duration) -> Arc<dyn ObjectStore> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = GoogleCloudStorageBuilder::new()
        .with_http_connector(Connector)
        .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(timeout))
        .with_config(GoogleConfigKey::BaseUrl, format!("http://{address}"))
        .with_config(GoogleConfigKey::BearerToken, TOKEN)
        .with_bucket_name(bucket)
        .with_retry(s3::patience().into())
        .build();
    Arc::new(client.unwrap())
}

/// Passes one request on, unless `refuse` answers method, path and head with a status and a code.
fn serve(
    client: impl Read + Write,
    server: Server,
    refuse: impl Fn(&str, &str, &str) -> Option<(u16, &'static str)>,
) {
    let (mut client, mut head, mut length) = (BufReader::new(client), String::new(), 0);
    loop {
        let mut line = String::new();
        match client.read_line(&mut line) {
            // Closed, or not TLS at all, or a certificate that the client does not trust.
            Ok(0) | Err(_) => return,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => {}
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    if client.read_exact(&mut body).is_err() {
        return;
    }
    // What need not be encoded, which moto does not decode in the name of a bucket.
    let head = [("%2D", "-"), ("%2E", "."), ("%2F", "/"), ("%5F", "_")]
        .iter()
        .fold(head, |head, (encoded, plain)| head.replace(encoded, plain));
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let answer = if let Some((status, code)) = refuse(method, path, &head) {
        let text =
            if method == "HEAD" { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
        let length = text.len();
        format!("HTTP/1.1 {status} Refused\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
            .into_bytes()
    } else {
        let mut upstream = TcpStream::connect(server.address).unwrap();
        write!(upstream, "{head}Connection: close\r\n\r\n").unwrap();
        upstream.write_all(&body).unwrap();
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).unwrap();
        answer
    };
    let _ = client.get_mut().write_all(&answer);
    let _ = client.get_mut().flush();
}

/// A certificate of an authority that nobody knows.
pub struct Certificate {
    pub chain: PathBuf,
    key: PathBuf,
}

/// An authority, in a directory.
pub struct Authority<'a>(&'a Path);

impl<'a> Authority<'a> {
    pub fn new(directory: &'a Path) -> Self {
        let this = Self(directory);
        fs::write(
            directory.join("ca.cnf"),
            "[req]\ndistinguished_name = name\n[name]\n[authority]\nbasicConstraints = critical, CA:TRUE\n\
             [ca]\ndefault_ca = default\n[default]\ndatabase = index\nnew_certs_dir = .\ndefault_md = sha256\n\
             rand_serial = yes\nunique_subject = no\npolicy = policy\n[policy]\ncommonName = supplied\n",
        )
        .unwrap();
        fs::write(directory.join("index"), "").unwrap();
        this.openssl("req -new -x509 -config ca.cnf -extensions authority -subj /CN=authority -days 2 KEY -keyout ca.key -out ca.pem");
        this
    }

    /// What is to be trusted.
    pub fn path(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// For a server of this name (`IP:127.0.0.1`), until this day.
    pub fn certificate(&self, name: &str, until: &str) -> Certificate {
        let file = until.to_owned() + &name.replace([':', '.'], "-");
        fs::write(self.0.join("extensions"), format!("subjectAltName = {name}\n")).unwrap();
        self.openssl(&format!(
            "req -new -config ca.cnf -subj /CN=server KEY -keyout {file}.key -out {file}.csr"
        ));
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -extfile extensions -startdate 20200101000000Z \
             -enddate {until}000000Z -in {file}.csr -out {file}.pem"
        ));
        Certificate { chain: self.0.join(format!("{file}.pem")), key: self.0.join(format!("{file}.key")) }
    }

    fn openssl(&self, args: &str) {
        let args = args.replace("KEY", "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes");
        let done =
            Command::new("openssl").args(args.split(' ')).current_dir(self.0).output().expect("openssl runs");
        assert!(done.status.success(), "{args}\n{}", String::from_utf8_lossy(&done.stderr));
    }
}
