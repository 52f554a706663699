//! The rights of another user for a piece of work of this thread alone: what root does in a
//! directory that a user owns, it does as that user, so that nothing put there can turn root's
//! rights against others (HAZARDS H32). Must leave the thread with the rights that it came with.

use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Whose rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// His group: that of what he makes, unless the directory says otherwise.
    pub gid: u32,
}

/// Runs `work` with the rights of `owner` where we are root and he is not; with our own otherwise,
/// also where the system does not let us change them (no CAP_SETUID, CAP_SETGID). `also`: a group
/// whose rights he has as well.
///
/// Of the four user ids of a thread only the effective one changes, and with it the one that files
/// are judged by: no other process may signal or trace us meanwhile.
pub fn of<T>(owner: Owner, also: u32, work: impl FnOnce() -> T) -> T {
    let _back = (geteuid().is_root() && owner.uid != 0).then(|| Back::after(owner, also)).flatten();
    work()
}

/// Gives the thread its rights back when it is dropped.
struct Back {
    gid: Gid,
    groups: Vec<Gid>,
}

impl Back {
    fn after(owner: Owner, also: u32) -> Option<Self> {
        let back = Self { gid: getegid(), groups: getgroups().ok()? };
        // Root's own group is no user's to have.
        let groups: Vec<Gid> =
            [owner.gid, also].into_iter().filter(|gid| *gid != 0).map(Gid::from_raw).collect();
        set_thread_groups(&groups).ok()?;
        let taken = set_thread_res_gid(None, Gid::from_raw(owner.gid), None)
            .and_then(|()| set_thread_res_uid(None, Uid::from_raw(owner.uid), None));
        // On failure `back` is dropped, which undoes what was done.
        taken.ok().map(|()| back)
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        // The user first: only root may change the groups.
        let restored = set_thread_res_uid(None, Uid::ROOT, None)
            .and_then(|()| set_thread_res_gid(None, self.gid, None))
            .and_then(|()| set_thread_groups(&self.groups));
        if restored.is_err() {
            // Cannot be, with root as the thread's real user; going on with the wrong rights must
            // not be either.
            tracing::error!("the rights of a thread could not be restored");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn root_makes_a_file_as_its_owner_and_is_root_again_afterwards() {
        if !geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let private = base.path().join("private");
        std::fs::write(&private, "").unwrap();
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        let before = (geteuid(), getegid(), getgroups().unwrap());

        let made = base.path().join("made");
        let owner = Owner { uid: 12345, gid: 12346 };
        let read = of(owner, 0, || {
            std::fs::write(&made, "").unwrap();
            // Another thread goes on as it was.
            let elsewhere = std::thread::spawn(geteuid).join().unwrap();
            (std::fs::read(&private).is_ok(), geteuid().as_raw(), elsewhere.as_raw())
        });
        assert_eq!((read.0, read.1), (false, 12345));
        let file = made.metadata().unwrap();
        assert_eq!((file.uid(), file.gid()), (12345, 12346));
        assert_eq!((geteuid(), getegid(), getgroups().unwrap()), before);
    }
}
