//! Databases that other programs made, of different kinds, pass through every job and every command
//! unharmed, and their programs go on with them: Fossil, Subversion, rpm (WAL mode), NSS and PROJ.

use crate::support::sandbox::{Sandbox, said};
use crate::support::skip;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Every stored row of every table, with its rowid where it has one; statistics aside, which
/// maintenance refreshes.
fn content(path: &Path) -> BTreeMap<String, Vec<Vec<Value>>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let names: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite_stat%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let rows = |name: &String| {
        let name = name.replace('"', "\"\"");
        let mut statement = connection
            .prepare(&format!("SELECT rowid, * FROM \"{name}\" ORDER BY rowid"))
            .or_else(|_| connection.prepare(&format!("SELECT * FROM \"{name}\"")))
            .unwrap();
        let width = statement.column_count();
        let rows =
            statement.query_map([], |row| (0..width).map(|i| row.get(i)).collect::<Result<Vec<Value>, _>>());
        rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    names.iter().map(|name| (name.clone(), rows(name))).collect()
}

/// What else is in the schema.
fn schema(path: &Path) -> Vec<(String, String, Option<String>)> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql =
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Whether SQLite finds keys that point at nothing: Fossil's are there by its will.
fn breaks_foreign_keys(path: &Path) -> bool {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_foreign_key_check)";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Runs a shell script in `directory`, which is also its home.
fn shell(directory: &Path, script: &str) {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(directory);
    let output = bash.env("HOME", directory).env("USER", "me").output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{script}\n{said}");
}

/// `make` makes the database at `path` below the working directory; `go_on` has its program use it
/// and fails where it finds it wanting.
fn passes_through_everything_unharmed(program: &str, path: &str, make: &str, go_on: &str) {
    if !Command::new("which").arg(program).output().unwrap().status.success() && !Path::new(program).exists()
    {
        return skip(&format!("{program} is missing"));
    }
    let sandbox = Sandbox::new();
    let home = sandbox.data();
    shell(&home, make);
    let database = home.join(path);
    let jobs = "[maintain]\nvacuum = 'always'\nanalyze = 'always'\nreindex = 'always'\n";
    sandbox.configure(&format!("{jobs}[database.attendance]\npath = '{}'", database.display()));
    let (rows, text) = (content(&database), schema(&database));
    let broken = breaks_foreign_keys(&database);
    assert!(rows.values().any(|rows| !rows.is_empty()), "{path} is empty");

    let restored = sandbox.path().join("restored.sqlite");
    let recovered = sandbox.path().join("recovered.sqlite");
    let commands: [&[&str]; 8] = [
        &["health", "attendance", "--deep"],
        &["maintain", "attendance", "--dry-run"],
        &["maintain", "attendance"],
        &["backup", "attendance"],
        &["verify", "attendance"],
        &["restore", "attendance", "--to", restored.to_str().unwrap()],
        &["recover", "attendance", "--always", "--to", recovered.to_str().unwrap()],
        &["advise", "attendance"],
    ];
    for command in commands {
        let output = sandbox.litekeeper(command);
        let said = said(&output);
        let found = broken && command[0] == "health";
        assert_eq!(output.status.code(), Some(i32::from(found)), "{command:?} of {path}: {said}");
        assert_eq!(said.contains("found: foreign_keys:"), found, "{command:?} of {path}: {said}");
        assert_eq!(content(&database), rows, "after {command:?} of {path}");
        assert_eq!(schema(&database), text, "after {command:?} of {path}");
    }
    for copy in [&restored, &recovered] {
        assert_eq!(content(copy), rows, "{} of {path}", copy.display());
        assert_eq!(schema(copy), text, "{} of {path}", copy.display());
    }
    shell(&home, go_on);
}

const FOSSIL: &str = "
fossil new --admin-user me repo.fossil >/dev/null
mkdir checkout && cd checkout && fossil open ../repo.fossil >/dev/null
for i in 1 2 3; do
    seq $((i * 2000)) >f$i
    fossil add f$i >/dev/null
    fossil commit --no-warnings -m \"$i\" >/dev/null
done";
const FOSSIL_GOES_ON: &str = "
fossil test-integrity repo.fossil | grep 'low-level database integrity-check: ok'
cd checkout && seq 9 >f1 && fossil commit --no-warnings -m more >/dev/null && fossil status >/dev/null";

#[test]
fn a_repository_of_fossil() {
    passes_through_everything_unharmed("fossil", "repo.fossil", FOSSIL, FOSSIL_GOES_ON);
}

#[test]
fn a_checkout_of_fossil() {
    passes_through_everything_unharmed("fossil", "checkout/.fslckout", FOSSIL, FOSSIL_GOES_ON);
}

#[test]
fn a_working_copy_of_subversion() {
    let make = "
svnadmin create repository && svn checkout -q \"file://$PWD/repository\" wc && cd wc
for i in 1 2 3; do seq $((i * 100)) >f$i; svn add -q f$i; svn commit -q -m $i; done";
    let go_on = "
cd wc && svn cleanup && seq 9 >f1 && svn commit -q -m more && [[ -z $(svn status) ]]";
    passes_through_everything_unharmed("svn", "wc/.svn/wc.db", make, go_on);
}

#[test]
fn the_database_of_rpm() {
    let make = "
rpm --dbpath \"$PWD/rpm\" --initdb
cat >a.spec <<'END'
Name: a
Version: 1
Release: 1
Summary: a package
License: MIT
BuildArch: noarch
%description
A package.
%install
mkdir -p %{buildroot}/opt/a && seq 100 >%{buildroot}/opt/a/numbers
%files
/opt/a
END
rpmbuild --quiet --define \"_topdir $PWD/build\" -bb a.spec >/dev/null 2>&1
rpm --dbpath \"$PWD/rpm\" --root / --justdb --nodeps --install build/RPMS/noarch/a-1-1.noarch.rpm";
    let go_on = "
rpmdb --dbpath \"$PWD/rpm\" --verifydb
[[ $(rpm --dbpath \"$PWD/rpm\" -qa) == a-1-1.noarch ]]";
    passes_through_everything_unharmed("rpmbuild", "rpm/rpmdb.sqlite", make, go_on);
}

#[test]
fn the_keys_and_certificates_of_nss() {
    let make = "
mkdir nss && certutil -N -d sql:nss --empty-password
certutil -S -d sql:nss -n me -s CN=me -x -t C,C,C -z /etc/os-release >/dev/null 2>&1";
    for path in ["nss/cert9.db", "nss/key4.db"] {
        passes_through_everything_unharmed(
            "certutil",
            path,
            make,
            "certutil -V -d sql:nss -n me -u L && certutil -K -d sql:nss | grep me",
        );
    }
}

#[test]
fn the_coordinate_systems_of_proj() {
    let made = "/usr/share/proj/proj.db";
    passes_through_everything_unharmed(
        made,
        "proj.db",
        "cp /usr/share/proj/proj.db .",
        "PROJ_DATA=$PWD projinfo -q EPSG:2180 -o PROJ",
    );
}
