//! A real server of Azure's blobs on loopback, Microsoft's own emulator Azurite. It checks
//! signatures.

use super::s3;
use litekeeper::store::Connector;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::{ClientOptions, ObjectStore};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub const ACCOUNT: &str = "keeper";
/// Nothing that we write may ever hold it.
pub const KEY: &str = "c0VjUmVUMDAwMGRvTm90U2hvd1RoaXMyMjIy";

/// Makes a container, which takes a signed request and is nothing that litekeeper does.
const MAKE_CONTAINER: &str = r"
    const [address, account, key, name] = process.argv.slice(1);
    const headers = { 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2023-11-03' };
    const text = 'PUT' + '\n'.repeat(12) + Object.entries(headers).map(([k, v]) => `${k}:${v}\n`).join('')
        + `/${account}/${account}/${name}\nrestype:container`;
    const hmac = require('crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
    headers.authorization = `SharedKey ${account}:${hmac}`;
    fetch(`http://${address}/${account}/${name}?restype=container`, { method: 'PUT', headers })
        .then(async answer => { if (answer.status !== 201) throw new Error(await answer.text()); });
";

/// A server with containers.
#[derive(Debug, Clone, Copy)]
pub struct Azurite {
    pub address: SocketAddr,
}

/// The server of this process; `None`, which is an error under CI, where there is none.
pub fn server() -> Option<Azurite> {
    static SERVER: OnceLock<Option<Azurite>> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let Some(program) = s3::installed("azurite/node_modules/azurite/dist/src/blob/main.js") else {
            s3::missing("azurite");
            return None;
        };
        let mut command = Command::new("node");
        command.arg(program).args(["--inMemoryPersistence", "--blobPort", "0", "--disableTelemetry"]);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
        Some(Azurite { address: s3::launch(&command, "successfully listens on http://") })
    })
}

impl Azurite {
    /// What stands before a container.
    pub fn endpoint(self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// Makes a container that nobody else has, and gives its name.
    pub fn container(self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("container-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new("node");
        command.args(["-e", MAKE_CONTAINER, &self.address.to_string(), ACCOUNT, KEY, &name]);
        let made = command.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        name
    }

    /// A client of a container.
    pub fn client(self, container: &str, timeout: Duration) -> Arc<dyn ObjectStore> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = MicrosoftAzureBuilder::new()
            .with_http_connector(Connector)
            .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(timeout))
            .with_endpoint(self.endpoint())
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_container_name(container)
            .with_retry(s3::patience().into())
            .build();
        Arc::new(client.unwrap())
    }
}
