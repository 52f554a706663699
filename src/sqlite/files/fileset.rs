//! The files that a database is made of at one moment, by `stat`: to tell whether what a connection
//! has open is still what its path leads to (HAZARDS H30). Must never open them (H1).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::access::{Identity, identity};
use super::paths::{resolved, sidecar};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fileset {
    /// Without links: SQLite names the files beside the database by it.
    pub path: PathBuf,
    /// The database itself.
    pub file: Identity,
    /// Its `-wal`, where one is there.
    pub log: Option<Identity>,
    /// Its `-shm`, where one is there.
    pub index: Option<Identity>,
}

impl Fileset {
    /// That of now; `None` where there is no database.
    pub fn of(path: &Path) -> Option<Self> {
        let path = resolved(path);
        let file = std::fs::metadata(&path).ok()?;
        Some(Self {
            file: (file.dev(), file.ino()),
            log: identity(&sidecar(&path, "-wal")),
            index: identity(&sidecar(&path, "-shm")),
            path,
        })
    }

    /// The same with nothing beside it: all that is known of a database which nobody here has open.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { log: None, index: None, ..self }
    }

    /// Whether everything of it is in its place in `now`. More may lie beside it.
    pub fn is_in_place(&self, now: &Self) -> bool {
        let beside = |one: Option<Identity>, other: Option<Identity>| one.is_none() || one == other;
        self.path == now.path
            && self.file == now.file
            && beside(self.log, now.log)
            && beside(self.index, now.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_removed_replaced_or_reached_by_another_path_is_not_in_place_and_what_is_new_beside_it_is() {
        let base = tempfile::tempdir().unwrap();
        let (path, link) = (base.path().join("a.db"), base.path().join("link.db"));
        let put = |name: &str| {
            let new = base.path().join("new");
            fs::write(&new, "").unwrap();
            fs::rename(&new, base.path().join(name)).unwrap();
        };
        assert_eq!(Fileset::of(&path), None);
        put("a.db");
        std::os::unix::fs::symlink("a.db", &link).unwrap();
        let alone = Fileset::of(&path).unwrap();
        assert!(alone.is_in_place(&Fileset::of(&link).unwrap()));
        put("a.db-wal");
        put("a.db-shm");
        let open = Fileset::of(&path).unwrap();
        assert!(alone.is_in_place(&open) && open.is_in_place(&open) && open.clone().alone() == alone);
        let is_in_place = |what: &str| open.is_in_place(&Fileset::of(&path).expect(what));
        fs::rename(base.path().join("a.db-wal"), base.path().join("kept")).unwrap();
        assert!(!is_in_place("without its log"));
        put("a.db-wal");
        assert!(!is_in_place("with another log"));
        fs::rename(base.path().join("kept"), base.path().join("a.db-wal")).unwrap();
        assert!(is_in_place("with its log again"));
        fs::remove_file(base.path().join("a.db-shm")).unwrap();
        assert!(!is_in_place("without its -shm"));
        fs::rename(&path, base.path().join("b.db")).unwrap();
        std::os::unix::fs::symlink("b.db", &path).unwrap();
        assert_eq!(Fileset::of(&path).unwrap().file, alone.file);
        assert!(!alone.is_in_place(&Fileset::of(&path).unwrap()), "the same file, beside which nothing is");
    }
}
