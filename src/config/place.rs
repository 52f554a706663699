//! Where backups lie: a directory of this machine, or a bucket. As written in the file; opens nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::read::value::{Wrong, describe, path, text};

/// `backup.dir`, and the `dir` of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The directory above the database's own.
    Directory(PathBuf),
    /// A prefix in a bucket, above the database's own.
    Bucket(Bucket),
}

/// A prefix in a bucket. Shown as it is written: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Whose.
    pub cloud: Cloud,
    /// The bucket, with Azure the container.
    pub name: String,
    /// Without slashes around it; empty: the bucket itself.
    pub prefix: String,
}

/// Whose interface a bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon S3, and whatever else talks like it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Cloud {
    const ALL: [(&'static str, Self); 3] = [("s3", Self::S3), ("gs", Self::Google), ("az", Self::Azure)];

    /// What stands before `://`.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

impl Place {
    /// The directory, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// Where `name` lies below it, for messages.
    pub fn join(&self, name: &str) -> String {
        match self {
            Self::Directory(path) => path.join(name).display().to_string(),
            Self::Bucket(bucket) => format!("{bucket}/{name}"),
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::Directory(path)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.cloud.scheme(), self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// `s3:/bucket`, `s3:bucket`.
fn almost_a_bucket(text: &str) -> Option<Cloud> {
    let (scheme, _) = text.split_once(':')?;
    Cloud::ALL.into_iter().find(|(known, _)| *known == scheme).map(|(_, cloud)| cloud)
}

/// Reads a place.
pub(super) fn place(value: &DeValue<'_>) -> Result<Place, Wrong> {
    let Some((scheme, rest)) = value.as_str().and_then(|text| text.split_once("://")) else {
        return if let Some(cloud) = value.as_str().and_then(almost_a_bucket) {
            let wrong = Wrong::new(format!("must be a path or a bucket, not {}", describe(value)));
            Err(wrong.help(format!("a bucket has two slashes: {}://bucket/prefix", cloud.scheme())))
        } else {
            path(value).map(Place::Directory)
        };
    };
    let whole = text(value)?;
    let Some((_, cloud)) = Cloud::ALL.into_iter().find(|(known, _)| *known == scheme) else {
        let wrong = Wrong::new(format!("cannot be a place of the kind {scheme}://"));
        return Err(wrong
            .help("use an absolute path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"));
    };
    if rest.contains(['@', '?', '#']) {
        // Not shown: what stands there may be a secret.
        let wrong = Wrong::new("must be a bucket and a prefix, without user, query or fragment");
        return Err(wrong.help("credentials come from the environment or systemd's LoadCredential="));
    }
    let mut parts = rest.trim_end_matches('/').split('/');
    let name = parts.next().unwrap_or_default().to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let wrong = Wrong::new(format!("names no bucket: {whole:?}"));
        return Err(wrong.help(format!(
            "write {scheme}://bucket/prefix; a bucket's name has letters, digits, `.`, `-` and `_`"
        )));
    }
    let parts: Vec<&str> = parts.collect();
    if let Some(part) =
        parts.iter().find(|part| part.starts_with('.') || part.is_empty() || !part.chars().all(plain))
    {
        let wrong = Wrong::new(format!("has the part {part:?} in its prefix: {whole:?}"));
        return Err(wrong.help("a part has letters, digits, `.`, `-` and `_`, and does not begin with a dot"));
    }
    if !cfg!(feature = "object-storage") {
        let wrong = Wrong::new(format!(
            "cannot be {scheme}://: this litekeeper was built without the feature `object-storage`"
        ));
        return Err(
            wrong.help("use an absolute path, or build it with `cargo build --features object-storage`")
        );
    }
    Ok(Place::Bucket(Bucket { cloud, name, prefix: parts.join("/") }))
}
