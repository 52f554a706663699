//! Where backups lie, as it is written in the file: a path, or the URL of a bucket.

use toml::de::DeValue;

use super::value::{path, text};
use super::wrong::{Mistake, describe};
use crate::config::place::{Bucket, Cloud, Place};

/// `s3:/bucket`, `s3:bucket`.
fn almost_a_bucket(text: &str) -> Option<Cloud> {
    let (scheme, _) = text.split_once(':')?;
    Cloud::ALL.into_iter().find(|(known, _)| *known == scheme).map(|(_, cloud)| cloud)
}

/// Reads a place.
pub(super) fn place(value: &DeValue<'_>) -> Result<Place, Mistake> {
    let Some((scheme, rest)) = value.as_str().and_then(|text| text.split_once("://")) else {
        return if let Some(cloud) = value.as_str().and_then(almost_a_bucket) {
            let wrong = Mistake::new(format!("must be a path or a bucket, not {}", describe(value)));
            Err(wrong.help(format!("a bucket has two slashes: {}://bucket/prefix", cloud.scheme())))
        } else {
            path(value).map(Place::Directory)
        };
    };
    let whole = text(value)?;
    let Some((_, cloud)) = Cloud::ALL.into_iter().find(|(known, _)| *known == scheme) else {
        let wrong = Mistake::new(format!("cannot be a place of the kind {scheme}://"));
        return Err(wrong
            .help("use an absolute path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"));
    };
    if rest.contains(['@', '?', '#']) {
        // Not shown: what stands there may be a secret.
        let wrong = Mistake::new("must be a bucket and a prefix, without user, query or fragment");
        return Err(wrong.help("credentials come from the environment or systemd's LoadCredential="));
    }
    let mut parts = rest.trim_end_matches('/').split('/');
    let name = parts.next().unwrap_or_default().to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let wrong = Mistake::new(format!("names no bucket: {whole:?}"));
        return Err(wrong.help(format!(
            "write {scheme}://bucket/prefix; a bucket's name has letters, digits, `.`, `-` and `_`"
        )));
    }
    let parts: Vec<&str> = parts.collect();
    if let Some(part) =
        parts.iter().find(|part| part.starts_with('.') || part.is_empty() || !part.chars().all(plain))
    {
        let wrong = Mistake::new(format!("has the part {part:?} in its prefix: {whole:?}"));
        return Err(wrong.help("a part has letters, digits, `.`, `-` and `_`, and does not begin with a dot"));
    }
    if !cfg!(feature = "object-storage") {
        let wrong = Mistake::new(format!(
            "cannot be {scheme}://: this litekeeper was built without the feature `object-storage`"
        ));
        return Err(
            wrong.help("use an absolute path, or build it with `cargo build --features object-storage`")
        );
    }
    Ok(Place::Bucket(Bucket { cloud, name, prefix: parts.join("/") }))
}
