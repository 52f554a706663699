//! Where backups lie: a directory of this machine, or a bucket. Opens nothing.

use std::fmt;
use std::path::{Path, PathBuf};

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
    /// By what stands before `://`.
    pub(super) const ALL: [(&'static str, Self); 3] =
        [("s3", Self::S3), ("gs", Self::Google), ("az", Self::Azure)];

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
