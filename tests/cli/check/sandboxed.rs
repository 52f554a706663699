//! What a unit's sandbox closes is told apart from a filesystem that nobody can write. Played with a
//! mount namespace in place of systemd's; tests/systemd has the real one. Takes root.

use crate::fixture::kept;
use crate::support::sandbox::{Sandbox, said};
use crate::support::skip;
use std::process::Command;

/// Checks the environment where `mounts` was run before in a namespace of its own.
fn checked(sandbox: &Sandbox, mounts: &str, arguments: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can mount");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_litekeeper");
    let script = format!("{mounts} && exec {program} --config \"$1\" check --environment --json {arguments}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", &script, "sh"]);
    command.arg(sandbox.configuration()).env("DATA", sandbox.data());
    let told = command.output().unwrap();
    assert_eq!(told.status.code(), Some(1), "{}", said(&told));
    Some(said(&told))
}

const LIKE_A_SANDBOX: &str = "mount --bind \"$DATA\" \"$DATA\" && mount -o remount,bind,ro \"$DATA\"";

#[test]
fn what_the_sandbox_closes_is_opened_by_a_drop_in_of_its_unit() {
    let sandbox = kept();
    let Some(told) = checked(&sandbox, LIKE_A_SANDBOX, "--for-unit litekeeper@shop.service") else { return };
    let drop_in = format!(
        "'[Service]' ReadWritePaths={} >> /etc/systemd/system/litekeeper@shop.service.d/paths.conf && systemctl \
         daemon-reload && systemctl restart litekeeper@shop",
        sandbox.data().display()
    );
    assert!(told.contains(&drop_in), "{told}");
    assert!(!told.contains("mount that filesystem"), "{told}");
}

#[test]
fn a_filesystem_that_nobody_can_write_is_to_be_mounted_writable() {
    let sandbox = kept();
    let disk = "mount -t tmpfs own /mnt && cp \"$DATA\"/* /mnt && mount -t tmpfs own \"$DATA\" && cp /mnt/* \"$DATA\" && \
                mount -o remount,ro \"$DATA\"";
    let Some(told) = checked(&sandbox, disk, "--for-unit litekeeper.service") else { return };
    assert!(told.contains("Elsewhere: mount that filesystem writable"), "{told}");
    assert!(!told.contains("ReadWritePaths"), "{told}");
}

#[test]
fn a_read_only_mount_outside_a_unit_is_no_matter_of_systemd() {
    let sandbox = kept();
    let Some(told) = checked(&sandbox, LIKE_A_SANDBOX, "") else { return };
    assert!(told.contains("is mounted read-only here: mount it writable here, too"), "{told}");
    assert!(!told.contains("ReadWritePaths"), "{told}");
}
