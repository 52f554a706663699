//! The systemd unit that a process belongs to, and the drop-in that opens its sandbox. Asks nobody:
//! `/proc` tells, within the sandbox as well.

use std::fs;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use crate::commands;

/// The unit whose place this process takes, where it is not its own.
static STANDS_FOR: OnceLock<String> = OnceLock::new();

/// Names of drop-ins that we propose: one file, to which each proposal adds.
const DROP_IN: &str = "paths.conf";

/// From now on [`own`] is this unit: the process was started with its rights, to look with them.
pub fn stand_for(unit: &str) {
    let _ = STANDS_FOR.set(unit.to_owned());
}

/// The service that this process belongs to; `None` outside one.
pub fn own() -> Option<String> {
    static OWN: LazyLock<Option<String>> = LazyLock::new(|| of_process("self"));
    STANDS_FOR.get().or(OWN.as_ref()).cloned()
}

/// The service that a process belongs to; `None` where it belongs to none, or cannot be seen.
pub fn of_process(pid: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?.lines().find_map(of_cgroup)
}

/// `attendance.service` in `0::/system.slice/attendance.service`. What runs in a scope, a terminal
/// above all, is no part of the service around it: that is the user's whole session.
fn of_cgroup(line: &str) -> Option<String> {
    let is = |part: &&str, kind: &str| Path::new(part).extension() == Some(kind.as_ref());
    let innermost = line.rsplit(['/', ':']).find(|part| is(part, "service") || is(part, "scope"))?;
    is(&innermost, "service").then(|| innermost.to_owned())
}

/// The commands that give `unit` these settings more, and have it take them, on one line.
pub fn drop_in(unit: &str, settings: &[(&str, &Path)]) -> String {
    let directory = format!("/etc/systemd/system/{unit}.d");
    let mut lines = vec![String::from("[Service]")];
    lines.extend(settings.iter().map(|(key, value)| {
        // `%` begins a specifier (systemd.unit(5)), and a blank ends a path.
        let value = value.display().to_string().replace('%', "%%");
        let is_one = !value.contains([' ', '\t', '"', '\'', '\\']);
        let value =
            if is_one { value } else { format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")) };
        format!("{key}={value}")
    }));
    let lines: Vec<_> = lines.iter().map(|line| commands::word(line)).collect();
    format!(
        "mkdir -p {directory} && printf '%s\\n' {} >> {directory}/{DROP_IN} && systemctl daemon-reload && systemctl \
         restart {unit}",
        lines.join(" "),
        directory = commands::word(&directory),
        unit = commands::word(unit.strip_suffix(".service").unwrap_or(unit))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_service_is_the_one_to_stop() {
        let nested = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service/worker";
        assert_eq!(of_cgroup(nested).as_deref(), Some("shop.service"));
        assert_eq!(of_cgroup("0::/user.slice/user-1000.slice/session-2.scope"), None);
        let terminal = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/terminal.scope";
        assert_eq!(of_cgroup(terminal), None);
    }

    #[test]
    fn a_drop_in_is_one_line_that_a_shell_and_systemd_read_as_it_is_meant() {
        let made = drop_in("litekeeper@shop.service", &[("ReadWritePaths", Path::new("/srv/a 100%"))]);
        assert_eq!(
            made,
            "mkdir -p /etc/systemd/system/litekeeper@shop.service.d && printf '%s\\n' '[Service]' \
             'ReadWritePaths=\"/srv/a 100%%\"' >> /etc/systemd/system/litekeeper@shop.service.d/paths.conf && systemctl \
             daemon-reload && systemctl restart litekeeper@shop"
        );
    }
}
