//! A filesystem of its own at one of a test's places, which only root can mount: small, filled, or
//! with few files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A filesystem. Unmounted when dropped, which must be before its sandbox is.
pub struct Disk(PathBuf);

impl Disk {
    /// An empty one in memory, of a `size` as mount(8) has it, for example `200m`.
    pub fn memory(at: &Path, size: &str) -> Option<Self> {
        Self::mount(at, &["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"])
    }

    /// `mount ARGS AT`; `None` where that is not allowed.
    pub fn mount(at: &Path, args: &[&str]) -> Option<Self> {
        let mounted = Command::new("mount").args(args).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    /// Changes its limits: `size=`, `nr_inodes=`.
    pub fn limit(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    pub fn used_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    pub fn used_files(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_files - stat.f_ffree
    }

    /// Takes all that is free, as another program may; gives it back by [`Disk::free`].
    pub fn fill(&self) {
        let file = fs::File::create(self.0.join("filler")).unwrap();
        let flags = rustix::fs::FallocateFlags::empty();
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let mut size = 0;
        let mut more = stat.f_bfree * stat.f_frsize;
        // To the last block: others write meanwhile, so all at once may be too much.
        while more >= stat.f_frsize {
            match rustix::fs::fallocate(&file, flags, size, more) {
                Ok(()) => size += more,
                Err(_) => more /= 2,
            }
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The test has its verdict already.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
