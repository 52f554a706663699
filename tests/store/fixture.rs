//! A catalogue in a directory of its own, and backups of a chosen time in it.

use chrono::{DateTime, Utc};
use litekeeper::config::Compression;
use litekeeper::error::{Error, Result};
use litekeeper::store::codec::Encoding;
use litekeeper::store::{Backup, Catalogue, Local, Snapshot};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const GZIP: Encoding =
    Encoding { compression: Compression::Gzip, level: 6, threads: 2, max_rate: None, low_priority: false };

pub(crate) const ZSTD: Encoding =
    Encoding { compression: Compression::Zstd, level: 6, threads: 2, max_rate: None, low_priority: false };

pub(crate) const PLAIN: Encoding =
    Encoding { compression: Compression::None, level: 6, threads: 2, max_rate: None, low_priority: false };

pub(crate) struct Place {
    pub(crate) base: TempDir,
    pub(crate) catalogue: Catalogue,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::below(tempfile::tempdir().unwrap())
    }

    pub(crate) fn below(base: TempDir) -> Self {
        let store = Local::create(base.path(), "app").unwrap();
        Self { base, catalogue: Catalogue::new("app", Arc::new(store)) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join("app").join(name)
    }

    pub(crate) fn add(&self, time: &str, content: &[u8]) -> Backup {
        self.add_as(time, content, GZIP)
    }

    pub(crate) fn add_as(&self, time: &str, content: &[u8], encoding: Encoding) -> Backup {
        self.catalogue.prepare(&|| Ok(())).unwrap();
        self.catalogue
            .add(at(time), encoding, None, &|| Ok(()), &mut |out| {
                out.write_all(content).unwrap();
                Ok(snapshot())
            })
            .unwrap()
            .made()
            .unwrap()
            .backup
    }

    pub(crate) fn listed(&self) -> Vec<(String, bool)> {
        self.catalogue.list().unwrap().into_iter().map(|b| (b.name.clone(), b.is_good())).collect()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let all = fs::read_dir(self.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = all.filter(|n| n != ".lock").collect();
        names.sort();
        names
    }
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    format!("{text}Z").parse().unwrap()
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        source: "/srv/app.sqlite".into(),
        page_size: 4096,
        page_count: 3,
        sqlite_version: "3.53.2".into(),
        user_version: 7,
        application_id: -1,
        schema_sha256: "00".into(),
        tables: BTreeMap::from([("users".into(), Some(5)), ("big".into(), None)]),
        damage: None,
    }
}

pub(crate) fn x(out: &mut dyn Write) -> Result<Snapshot> {
    out.write_all(b"x").map_err(|e| Error::io("cannot write", &e))?;
    Ok(snapshot())
}
