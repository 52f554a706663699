//! Which unit runs the daemon with a configuration, and what systemd says of it. Asks `systemctl
//! show`, which changes nothing; where there is no systemd, there is no unit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use crate::config::DEFAULT_PATH;
use crate::rights;

/// The settings that say with whose rights a unit runs, and what it sees (systemd.exec(5)). The
/// filter of system calls is none of them, nor the limits of memory and tasks: a look needs neither.
pub(super) const RIGHTS: [&str; 41] = [
    "User",
    "Group",
    "SupplementaryGroups",
    "DynamicUser",
    "UMask",
    "RootDirectory",
    "RootImage",
    "WorkingDirectory",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "ExecPaths",
    "NoExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivateUsers",
    "ProtectProc",
    "ProcSubset",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "NoNewPrivileges",
    "RestrictSUIDSGID",
    "RestrictAddressFamilies",
    "IPAddressAllow",
    "IPAddressDeny",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "Environment",
    "EnvironmentFiles",
    "LimitNOFILE",
];

/// What else is asked for.
const OTHERS: [&str; 14] = [
    "Id",
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "ActiveEnterTimestamp",
    "FragmentPath",
    "DropInPaths",
    "NeedDaemonReload",
    "ExecStart",
    "LimitNOFILESoft",
    "StateDirectory",
    "CacheDirectory",
    "LogsDirectory",
    "RuntimeDirectory",
];

/// The settings that name directories which systemd makes and gives to the user as the unit starts,
/// and where they lie.
const MADE: [(&str, &str); 4] = [
    ("StateDirectory", "/var/lib"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
    ("RuntimeDirectory", "/run"),
];

/// A unit that runs the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Such as `litekeeper.service`.
    pub name: String,
    /// Its user, by name.
    pub user: String,
    /// The program that it starts.
    pub(super) program: PathBuf,
    pub(super) properties: BTreeMap<String, String>,
}

/// The unit that runs the daemon with the configuration in `path`; of several the one that is active,
/// or enabled.
///
/// Errors: why systemd, which is there, could not be asked.
pub fn of(path: &Path) -> Result<Option<Installed>, String> {
    // As sd_booted(3) looks.
    if !Path::new("/run/systemd/system").is_dir() {
        return Ok(None);
    }
    let mut names = vec![String::from("litekeeper.service"), String::from("litekeeper*.service")];
    // The instance that its user has not enabled yet is unknown to systemd until it is asked for it.
    let instance = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_plain(stem));
    names.extend(instance.map(|instance| format!("litekeeper@{instance}.service")));
    let properties = RIGHTS.into_iter().chain(OTHERS).collect::<Vec<_>>().join(",");
    let mut command = Command::new("systemctl");
    command.args(["show", "--no-pager", "--timestamp=unix", "--property", &properties, "--"]).args(&names);
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("systemctl: {error}"))?;
    let found = chosen(&String::from_utf8_lossy(&output.stdout), path);
    if found.is_none() && !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(found)
}

fn is_plain(instance: &str) -> bool {
    instance.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
}

/// Of what `systemctl show` has printed.
fn chosen(shown: &str, path: &Path) -> Option<Installed> {
    let units = shown.split("\n\n").filter_map(|block| unit(block, path));
    units.max_by_key(|unit| {
        let is = |key: &str, value: &str| unit.properties.get(key).is_some_and(|known| known == value);
        (is("ActiveState", "active"), is("UnitFileState", "enabled"), unit.name == "litekeeper.service")
    })
}

fn unit(block: &str, path: &Path) -> Option<Installed> {
    let properties: BTreeMap<String, String> = block
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    if properties.get("LoadState").map(String::as_str) != Some("loaded") {
        return None;
    }
    let (program, configuration) =
        started(properties.get("ExecStart")?, properties.get("Environment").map_or("", String::as_str))?;
    let same = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    if same(&configuration) != same(path) {
        return None;
    }
    let user = properties.get("User").filter(|user| !user.is_empty());
    let user = user.map_or_else(
        || String::from("root"),
        |user| match user.parse() {
            Ok(uid) => rights::user(uid),
            Err(_) => user.clone(),
        },
    );
    let name = properties.get("Id")?.clone();
    // An instance of the template by chance: nobody has this user, and nobody has enabled it.
    if name.contains('@') && rights::user_id(&user).is_none() && !is_dynamic(&properties) {
        return None;
    }
    Some(Installed { name, user, program, properties })
}

fn is_dynamic(properties: &BTreeMap<String, String>) -> bool {
    properties.get("DynamicUser").is_some_and(|dynamic| dynamic == "yes")
}

/// The program and the configuration of `{ path=/usr/bin/litekeeper ; argv[]=/usr/bin/litekeeper
/// --config /etc/x.toml run ; ignore_errors=no ; … }`; `None` where it starts something else.
fn started(exec: &str, environment: &str) -> Option<(PathBuf, PathBuf)> {
    let between = |begins: &str| Some(exec.split_once(begins)?.1.split_once(" ; ")?.0);
    let (program, arguments) = (between("path=")?, between("argv[]=")?);
    let arguments = arguments.split_once(' ')?.1.strip_suffix("run")?.trim_end();
    if Path::new(program).file_name()?.to_str()? != "litekeeper" {
        return None;
    }
    // Words are shown without quotes: a path ends where the next option begins.
    let option = arguments.split_once("--config").map(|(_, rest)| {
        let rest = rest.trim_start_matches(['=', ' ']);
        rest.split_once(" --").map_or(rest, |(path, _)| path)
    });
    let variable = || environment.split(' ').find_map(|word| word.strip_prefix("LITEKEEPER_CONFIG="));
    let configuration = option.or_else(variable).unwrap_or(DEFAULT_PATH);
    Some((PathBuf::from(program), PathBuf::from(configuration)))
}

impl Installed {
    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.properties.get(key).is_some_and(|known| known == value)
    }

    /// The words of a setting that is a list of paths.
    pub(super) fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        self.properties.get(key).map(String::as_str).unwrap_or_default().split_whitespace()
    }

    /// The directories that systemd makes as the unit starts, and gives to its user.
    pub(super) fn made(&self) -> Vec<PathBuf> {
        let of = |(key, above): (&str, &str)| {
            let names = self.words(key).map(|word| word.split(':').next().unwrap_or(word).to_owned());
            names.map(|name| Path::new(above).join(name)).collect::<Vec<_>>()
        };
        MADE.into_iter().flat_map(of).collect()
    }

    /// Why the running daemon may have other rights than were looked with.
    pub(super) fn is_older(&self) -> Option<String> {
        let name = self.name.trim_end_matches(".service");
        if self.is("NeedDaemonReload", "yes") {
            return Some(format!(
                "the files of {name} were changed after systemd has read them, and the older ones were judged: run: \
                 systemctl daemon-reload && systemctl restart {name}, and check again"
            ));
        }
        let started = self.properties.get("ActiveEnterTimestamp")?.strip_prefix('@')?.parse().ok()?;
        let started = UNIX_EPOCH + Duration::from_secs(started);
        let files = self.words("FragmentPath").chain(self.words("DropInPaths"));
        let is_newer = |file: &str| {
            let changed = std::fs::metadata(file).and_then(|file| file.modified());
            changed.is_ok_and(|changed| changed > started + Duration::from_secs(1))
        };
        let newer = files.filter(|_| self.is("ActiveState", "active")).find(|file| is_newer(file))?;
        Some(format!(
            "{newer} was changed after {name} has started, which does not have its settings yet: systemctl restart {name}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 prints it, shortened.
    const SHOWN: &str = "\
Id=litekeeper.service
LoadState=loaded
ActiveState=inactive
UnitFileState=disabled
User=nobody
ReadWritePaths=-/var/backups/litekeeper
StateDirectory=litekeeper litekeeper/more
ExecStart={ path=/usr/bin/litekeeper ; argv[]=/usr/bin/litekeeper --config /etc/litekeeper/litekeeper.toml run ; \
ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }

Id=litekeeper@shop.service
LoadState=loaded
User=nobody
ExecStart={ path=/usr/bin/litekeeper ; argv[]=/usr/bin/litekeeper --config /etc/litekeeper/the shop.toml --json run ; \
ignore_errors=no ; start_time=[n/a] }

Id=litekeeper@gone.service
LoadState=not-found
";

    #[test]
    fn the_unit_of_a_configuration_is_the_one_that_starts_the_daemon_with_it() {
        let unit = chosen(SHOWN, Path::new("/etc/litekeeper/litekeeper.toml")).unwrap();
        assert_eq!((unit.name.as_str(), unit.user.as_str()), ("litekeeper.service", "nobody"));
        assert_eq!(unit.made(), ["/var/lib/litekeeper", "/var/lib/litekeeper/more"].map(PathBuf::from));
        let instance = chosen(SHOWN, Path::new("/etc/litekeeper/the shop.toml")).unwrap();
        assert_eq!(instance.name, "litekeeper@shop.service");
        assert_eq!(chosen(SHOWN, Path::new("/srv/other.toml")), None);
        assert_eq!(chosen("", Path::new("/etc/litekeeper/litekeeper.toml")), None);
    }
}
