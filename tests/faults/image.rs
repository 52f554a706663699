//! A filesystem in a file, and a power cut: it is shut down without flushing anything, its log
//! neither, and mounted again. Takes root and loop devices.

use crate::scene::said;
use crate::support::disk::Disk;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub struct Filesystem {
    format: &'static [&'static str],
    bytes: u64,
    /// Those under which it delays most.
    options: &'static str,
}

pub const EXT4: Filesystem = Filesystem {
    format: &["mkfs.ext4", "-q", "-F"],
    bytes: 64 << 20,
    options: "loop,data=writeback,noauto_da_alloc,commit=300",
};

pub const XFS: Filesystem = Filesystem { format: &["mkfs.xfs", "-q"], bytes: 320 << 20, options: "loop" };

/// Mounted, until it is dropped.
pub struct Image {
    disk: Option<Disk>,
    at: PathBuf,
    directory: TempDir,
    options: &'static str,
}

fn tool(name: &str, args: &[&str], at: &Path) -> Output {
    Command::new(name).args(args).arg(at).output().unwrap_or_else(|e| panic!("{name}: {e}"))
}

impl Image {
    /// A new one, mounted there.
    pub fn new(filesystem: &Filesystem, at: &Path) -> Self {
        let directory = TempDir::with_prefix("litekeeper-image-").unwrap();
        let file = directory.path().join("image");
        std::fs::File::create(&file).unwrap().set_len(filesystem.bytes).unwrap();
        let formatted = tool(filesystem.format[0], &filesystem.format[1..], &file);
        assert!(formatted.status.success(), "{}", said(&formatted));
        let mut this = Self { disk: None, at: at.to_owned(), directory, options: filesystem.options };
        this.mount();
        this
    }

    fn mount(&mut self) {
        let file = self.directory.path().join("image");
        self.disk = Disk::mount(&self.at, &["-o", self.options, file.to_str().unwrap()]);
        assert!(self.disk.is_some(), "it cannot be mounted from a loop device");
    }

    /// Nothing that is written from now on reaches the disk, nor what was not flushed before.
    pub fn shut_down(&self) {
        let down = tool("xfs_io", &["-x", "-c", "shutdown"], &self.at);
        assert!(down.status.success(), "{}", said(&down));
        assert!(std::fs::write(self.at.join("after"), "").is_err(), "it is still up");
    }

    /// Reads from the image again what is left. Nobody may have a file open there.
    pub fn start_again(&mut self) {
        // Not lazily: nothing may be left of it in memory.
        let gone = tool("umount", &[], &self.at);
        assert!(gone.status.success(), "{}", said(&gone));
        std::mem::forget(self.disk.take());
        self.mount();
    }

    /// Both.
    pub fn cut_power(&mut self) {
        self.shut_down();
        self.start_again();
    }
}
