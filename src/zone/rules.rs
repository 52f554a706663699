//! Where the rules of a zone are: in the machine's tzdata, which its updates keep true to the law,
//! and in this program, as of its build, for a machine that has none. Must never keep what it read
//! from a later look: a configuration that is read anew has the rules of that moment.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Where systems have it; the variable TZDIR goes before.
const DIRECTORIES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// Rules take some kilobytes at most; what is larger is another file.
const LARGEST: u64 = 1 << 20;

/// All rules that were read since the start. They are few: one set for each zone that was named,
/// and another each time that its law has changed.
static KNOWN: Mutex<Vec<&'static Rules>> = Mutex::new(Vec::new());

/// The rules of one zone.
pub(super) struct Rules {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) zone: TimeZone,
    /// As they were read; nothing of the program's own.
    bytes: Vec<u8>,
}

/// Where rules are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The machine's tzdata in this directory.
    Machine(PathBuf),
    /// This program.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(directory) => write!(f, "{}", directory.display()),
            Self::BuiltIn => f.write_str("litekeeper's own copy, as this machine has none"),
        }
    }
}

/// The rules of this moment; `None` where nobody has any.
pub(super) fn read(name: &str) -> Option<&'static Rules> {
    read_in(std::env::var_os("TZDIR"), name)
}

fn read_in(variable: Option<OsString>, name: &str) -> Option<&'static Rules> {
    if !is_name(name) {
        return None;
    }
    let first = variable.filter(|directory| !directory.is_empty()).map(PathBuf::from);
    let directories = first.into_iter().chain(DIRECTORIES.map(PathBuf::from));
    let found = directories.into_iter().find_map(|directory| {
        let bytes = contents(&directory.join(name))?;
        let zone = TimeZone::tzif(name, &bytes).ok()?;
        Some(Rules { name: name.to_owned(), source: Source::Machine(directory), zone, bytes })
    });
    found.or_else(|| built_in(name)).map(kept)
}

fn built_in(name: &str) -> Option<Rules> {
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    // It takes a name in letters of any size, and the machine does not.
    let is_exact = zone.iana_name() == Some(name);
    is_exact.then(|| Rules { name: name.to_owned(), source: Source::BuiltIn, zone, bytes: Vec::new() })
}

/// Every name that this program knows.
pub(super) fn names() -> impl Iterator<Item = String> {
    let names: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
    names.into_iter()
}

/// A name of the database: nothing that leads out of its directory, and none of its other
/// collections, which count leap seconds or are the same again.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    name.split('/').all(is_part) && !name.starts_with("posix/") && !name.starts_with("right/")
}

/// A pipe in its place would hold the reader up for ever.
fn contents(path: &Path) -> Option<Vec<u8>> {
    if !std::fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)).ok()?;
    Some(bytes)
}

/// One place for the same rules, however often they are read.
fn kept(rules: Rules) -> &'static Rules {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |known: &&&Rules| {
        (&known.name, &known.source, &known.bytes) == (&rules.name, &rules.source, &rules.bytes)
    };
    if let Some(same) = known.iter().find(same) {
        return same;
    }
    let rules: &'static Rules = Box::leak(Box::new(rules));
    known.push(rules);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_s_own_rules_are_for_what_the_machine_has_not() {
        let empty = tempfile::tempdir().unwrap();
        let file = std::fs::read(Path::new(DIRECTORIES[0]).join("Europe/Berlin")).ok();
        let (there, _) = (empty.path().join("Europe"), std::fs::create_dir(empty.path().join("Europe")));
        std::fs::write(there.join("Berlin"), "not rules").unwrap();
        let source = |name: &str| read_in(Some(empty.path().into()), name).map(|rules| rules.source.clone());
        let machine = Source::Machine(DIRECTORIES[0].into());
        let expected = if file.is_some() { machine } else { Source::BuiltIn };
        assert_eq!(source("Europe/Berlin"), Some(expected), "a file that holds no rules is passed over");
        assert_eq!(built_in("Europe/Berlin").unwrap().source, Source::BuiltIn);
        assert!(built_in("europe/berlin").is_none());
        assert_eq!(source("Mars/Base"), None);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in
            ["", "/etc/localtime", "../zoneinfo/UTC", "Europe/../UTC", "right/UTC", "posix/UTC", "a//b", "."]
        {
            assert!(!is_name(name), "{name:?}");
        }
        for name in ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "EST5EDT", "GMT-0"] {
            assert!(is_name(name), "{name:?}");
        }
        assert!(names().all(|name| is_name(&name)), "{:?}", names().find(|name| !is_name(name)));
    }
}
