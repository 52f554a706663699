//! From a bucket's name and the environment to a client. What the clients of the clouds read
//! (AWS_…, GOOGLE_…, AZURE_…) comes from the environment or, under the same names in lower case,
//! from systemd's `$CREDENTIALS_DIRECTORY`, which wins. Must never show a value.

use std::net::IpAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, Certificate, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::attempts::Connector;
use crate::config::{Bucket, Cloud};
use crate::error::{Error, Reason, Result};

/// How long a request is repeated. Only what may go away by itself is: refused and broken
/// connections, timeouts, 429 and 5xx; the pauses between grow, and are cut by chance.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts after the first.
    pub retries: usize,
    /// The first pause.
    pub first_pause: Duration,
    /// The longest.
    pub longest_pause: Duration,
}

impl Default for Patience {
    /// About half a minute: a store that is restarted must not end a long upload, and who mistyped
    /// its address waits.
    fn default() -> Self {
        Self { retries: 8, first_pause: Duration::from_millis(250), longest_pause: Duration::from_secs(20) }
    }
}

impl From<Patience> for RetryConfig {
    fn from(patience: Patience) -> Self {
        Self {
            backoff: BackoffConfig {
                init_backoff: patience.first_pause,
                max_backoff: patience.longest_pause,
                base: 3.0,
            },
            max_retries: patience.retries,
            retry_timeout: LAST_ATTEMPT_AFTER,
        }
    }
}

/// A part of 8 MiB gets through at 46 KiB a second; AWS_TIMEOUT and its like say otherwise.
const TIMEOUT: Duration = Duration::from_secs(180);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No attempt begins later than this after the first: all carry the signature of that, which is
/// good for 15 minutes.
const LAST_ATTEMPT_AFTER: Duration = Duration::from_secs(300);
/// Or a server that hangs would be asked but once.
const _: () = assert!(LAST_ATTEMPT_AFTER.as_secs() > TIMEOUT.as_secs());

/// The client, and what to do where it is refused.
pub(super) fn client(bucket: &Bucket, patience: Patience) -> Result<(Arc<dyn ObjectStore>, &'static str)> {
    // Another part of the program may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let failed = |e: object_store::Error| super::failure::told(&format!("cannot use {bucket}"), "", &e);
    Ok(match bucket.cloud {
        Cloud::S3 => {
            let given = Options::<AmazonS3ConfigKey>::read("AWS_")?;
            let set = given.has(&[
                AmazonS3ConfigKey::AccessKeyId,
                AmazonS3ConfigKey::WebIdentityTokenFile,
                AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
                AmazonS3ConfigKey::ContainerCredentialsFullUri,
            ]);
            let allow = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
            let builder = AmazonS3Builder::new()
                .with_http_connector(Connector)
                .with_client_options(options(ca_bundle()?));
            let client = given
                .settings(bucket, &AmazonS3ConfigKey::Endpoint, "AWS_ENDPOINT_URL", allow)?
                .into_iter()
                .fold(builder, |builder, (key, value)| builder.with_config(key, value))
                .with_bucket_name(&bucket.name)
                // Not every server has the other way.
                .with_disable_bulk_delete(true)
                .with_retry(attempts(patience)?.into())
                .build();
            let remedy = if set {
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL, and what the key may do"
            } else {
                "there is no AWS_ACCESS_KEY_ID in the environment and no aws_access_key_id among systemd's credentials"
            };
            (Arc::new(client.map_err(failed)?), remedy)
        }
        Cloud::Google => {
            let given = Options::<GoogleConfigKey>::read("GOOGLE_")?;
            let allow = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
            let builder = GoogleCloudStorageBuilder::new()
                .with_http_connector(Connector)
                // In place of the builder's own, which allow plain HTTP to everywhere.
                .with_client_options(options(Vec::new()));
            let client = given
                .settings(bucket, &GoogleConfigKey::BaseUrl, "GOOGLE_BASE_URL", allow)?
                .into_iter()
                .fold(builder, |builder, (key, value)| builder.with_config(key, value))
                .with_bucket_name(&bucket.name)
                .with_retry(patience.into())
                .build();
            (
                Arc::new(client.map_err(failed)?),
                "check GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY, and what it may do",
            )
        }
        Cloud::Azure => {
            let given = Options::<AzureConfigKey>::read("AZURE_")?;
            let allow = AzureConfigKey::Client(ClientConfigKey::AllowHttp);
            let builder = MicrosoftAzureBuilder::new()
                .with_http_connector(Connector)
                .with_client_options(options(Vec::new()));
            let client = given
                .settings(bucket, &AzureConfigKey::Endpoint, "AZURE_STORAGE_ENDPOINT", allow)?
                .into_iter()
                .fold(builder, |builder, (key, value)| builder.with_config(key, value))
                .with_container_name(&bucket.name)
                .with_retry(patience.into())
                .build();
            (
                Arc::new(client.map_err(failed)?),
                "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, and what the key may do",
            )
        }
    })
}

/// Ours, below what the environment says. Plain HTTP only where it allows that.
fn options(authorities: Vec<Certificate>) -> ClientOptions {
    let options = ClientOptions::new().with_timeout(TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
    authorities.into_iter().fold(options, ClientOptions::with_root_certificate)
}

/// The authorities that the file in `AWS_CA_BUNDLE` adds to the system's, as for Amazon's own
/// programs.
fn ca_bundle() -> Result<Vec<Certificate>> {
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from)
    else {
        return Ok(Vec::new());
    };
    let doing = format!("cannot read the certificates in {}, which AWS_CA_BUNDLE names", path.display());
    let pem = std::fs::read(&path).map_err(|e| unreadable(&doing, &e))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        _ => Err(Error::new(Reason::Config, format!("{doing}: it holds none in PEM format"))),
    }
}

/// A file that is missing here says nothing of what there is in the bucket.
fn unreadable(doing: &str, cause: &std::io::Error) -> Error {
    Error { reason: Reason::Config, ..Error::io(doing, cause) }
}

/// As often as `AWS_MAX_ATTEMPTS` says, which Amazon's own programs heed too.
fn attempts(patience: Patience) -> Result<Patience> {
    let Some(text) = std::env::var_os("AWS_MAX_ATTEMPTS") else { return Ok(patience) };
    match text.to_str().and_then(|text| text.parse::<NonZero<usize>>().ok()) {
        Some(attempts) => Ok(Patience { retries: attempts.get() - 1, ..patience }),
        None => Err(Error::new(Reason::Config, "AWS_MAX_ATTEMPTS must be a number, 1 or more")),
    }
}

/// What environment and credentials give of one cloud, the stronger later.
struct Options<K>(Vec<(K, String)>);

impl<K: FromStr + PartialEq> Options<K> {
    fn read(prefix: &str) -> Result<Self> {
        let mut settings = Vec::new();
        let of_ours =
            |name: &str| name.starts_with(prefix).then(|| name.to_lowercase().parse().ok()).flatten();
        for (name, value) in std::env::vars_os() {
            if let (Some(key), Some(value)) = (name.to_str().and_then(of_ours), value.to_str()) {
                settings.push((key, value.to_owned()));
            }
        }
        if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) {
            let failed =
                |e| unreadable(&format!("cannot read the credentials in {}", directory.display()), &e);
            for entry in std::fs::read_dir(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_str().unwrap_or_default().to_uppercase();
                let Some(key) = of_ours(&name) else { continue };
                let value = std::fs::read_to_string(entry.path());
                let value = value.map_err(|e| {
                    unreadable(&format!("cannot read the credential {}", entry.path().display()), &e)
                })?;
                // Editors and `echo` end a file with a newline, which no credential has.
                settings.push((key, value.trim_end().to_owned()));
            }
        }
        Ok(Self(settings))
    }

    fn last(&self, key: &K) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn has(&self, keys: &[K]) -> bool {
        keys.iter().any(|key| self.last(key).is_some())
    }

    /// All of it. Unencrypted only where that is allowed, or to this machine itself.
    fn settings(mut self, bucket: &Bucket, endpoint: &K, name: &str, allow: K) -> Result<Vec<(K, String)>> {
        if self.last(&allow).is_none()
            && let Some(url) = self.last(endpoint).filter(|url| url.starts_with("http://"))
        {
            if !is_here(url) {
                let cloud = name.split('_').next().unwrap_or_default();
                let text = format!(
                    "cannot use {bucket}: {name} is http://, over which anybody on the way reads and changes what is sent; \
                     use https://, or allow it with {cloud}_ALLOW_HTTP=true"
                );
                return Err(Error::new(Reason::Refused, text));
            }
            self.0.push((allow, String::from("true")));
        }
        Ok(self.0)
    }
}

/// Whether a URL leads to this machine.
fn is_here(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn only_loopback_is_spoken_to_without_encryption() {
        for here in ["http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9", "http://127.1.2.3"]
        {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in [
            "https://127.0.0.1",
            "http://10.0.0.1:9000",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://user@127.0.0.1@example.com",
            "minio:9000",
        ] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
