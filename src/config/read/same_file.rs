//! Whether two paths are one file, by device and inode: a link, a hard link, a bind mount. Must
//! never wait long for a disk: a reload, and who has asked for it, waits for this.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Disks that answer at all have answered by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// Device and inode of the files that are there. Those behind a disk that hangs are not known.
pub(super) struct FileIdentities(BTreeMap<PathBuf, (u64, u64)>);

impl FileIdentities {
    /// Looks at each path, as far as that is done in time.
    pub(super) fn look(paths: Vec<PathBuf>) -> Self {
        let (found, files) = mpsc::channel();
        let look = move || {
            for path in paths {
                let Ok(file) = std::fs::metadata(&path) else { continue };
                if found.send((path, (file.dev(), file.ino()))).is_err() {
                    // Nobody waits any more.
                    break;
                }
            }
        };
        let end = Instant::now() + PATIENCE;
        let next = || files.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
        // Without a thread the other end is dropped as well, and nothing is known.
        let _ = std::thread::Builder::new().name("same-file".into()).spawn(look);
        Self(std::iter::from_fn(next).collect())
    }

    /// The file to which this leads; `None`: it is not there, or not known.
    pub(super) fn of(&self, path: &Path) -> Option<(u64, u64)> {
        self.0.get(path).copied()
    }
}
