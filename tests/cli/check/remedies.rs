//! What is printed as a remedy is the whole of it, can be run as it is printed, and harms nobody.

use crate::fixture::{backed_up, json, kept, run, text};
use crate::support::application::{APPLICATION, Application, Owner};
use crate::support::sandbox::{Sandbox, copy_for_all, said};
use crate::support::skip;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};

/// Our user, who is in the application's group.
const MEMBER: [&str; 4] = ["setpriv", "--reuid=4712", "--regid=4712", "--groups=4711"];

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("only root can play several users");
    }
    root
}

/// Runs a verb as another user.
fn as_user(sandbox: &Sandbox, who: &[&str], args: &[&str]) -> Output {
    let program = sandbox.path().join("litekeeper");
    if !program.exists() {
        copy_for_all(env!("CARGO_BIN_EXE_litekeeper").as_ref(), &program);
    }
    let mut command = Command::new(who[0]);
    command.args(&who[1..]).arg(program).arg("--config").arg(sandbox.configuration()).args(args);
    command.env("NO_COLOR", "1").output().unwrap()
}

fn give(sandbox: &Sandbox, owner: Owner) {
    for dir in [sandbox.state(), sandbox.backups()] {
        chown(dir, Some(owner.uid), Some(owner.gid)).unwrap();
    }
}

/// The commands in a JSON look at the environment that change rights.
fn commands(environment: &serde_json::Value) -> Vec<String> {
    let texts = environment["environment"].as_array().unwrap().iter();
    let texts: Vec<_> = texts.map(|look| look["text"].as_str().unwrap().to_owned()).collect();
    let parts = texts.iter().flat_map(|text| text.split(": ")).flat_map(|text| text.split("; "));
    parts.filter(|part| part.starts_with("ch") && part.contains(" /")).map(str::to_owned).collect()
}

/// The application has its database open, which nobody else may write, in a directory with this mode.
fn closed_by_its_application(directory: u32) -> (Sandbox, Application) {
    let sandbox = kept();
    sandbox.configure("[maintain]\nanalyze = \"always\"");
    give(&sandbox, Owner { uid: 4712, gid: 4712 });
    sandbox.give_data_to(APPLICATION);
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(sandbox.data(), fs::Permissions::from_mode(directory)).unwrap();
    let mut application = Application::start_with(&sandbox.database(), &[], Some(APPLICATION));
    application.sql("UPDATE users SET email = 'the application''s'");
    (sandbox, application)
}

#[test]
fn what_check_prints_lets_maintenance_write_beside_a_running_application() {
    if !is_root() {
        return;
    }
    let (sandbox, mut application) = closed_by_its_application(0o755);

    let checked = as_user(&sandbox, &MEMBER, &["check", "--environment", "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    let printed = commands(&serde_json::from_slice(&checked.stdout).unwrap());
    let whole = printed.join("; ");
    assert!(whole.contains("attendance.sqlite-wal") && whole.contains("attendance.sqlite-shm"), "{whole}");
    let done = Command::new("sh").args(["-ec", &whole]).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let checked = as_user(&sandbox, &MEMBER, &["check", "--environment"]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    let maintained = as_user(&sandbox, &MEMBER, &["maintain", "attendance"]);
    assert_eq!(maintained.status.code(), Some(0), "{}", said(&maintained));
    application.sql("UPDATE users SET email = 'the application''s again'");
}

#[test]
fn files_beside_the_database_that_cannot_be_written_are_named_before_a_job_fails_by_them() {
    if !is_root() {
        return;
    }
    let (sandbox, _application) = closed_by_its_application(0o2775);
    // What an earlier remedy left out.
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(0o664)).unwrap();
    let checked = said(&as_user(&sandbox, &MEMBER, &["check", "--environment", "--json"]));
    assert!(checked.contains("nothing can be written into the database"), "{checked}");
    let maintained = said(&as_user(&sandbox, &MEMBER, &["maintain", "attendance"]));
    let remedy = format!("chmod g+rw {}-wal", sandbox.database().display());
    assert!(checked.contains(&remedy) && maintained.contains(&remedy), "{checked}\n{maintained}");
}

#[test]
fn nobody_is_put_into_roots_group_and_who_has_a_name_is_called_by_it() {
    if !is_root() {
        return;
    }
    let sandbox = kept();
    give(&sandbox, Owner { uid: 4712, gid: 4712 });
    // `nobody` is a user whose name every machine has.
    sandbox.give_data_to(Owner { uid: 65_534, gid: 0 });
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(0o644)).unwrap();
    let told = said(&as_user(&sandbox, &MEMBER, &["check", "--environment", "--json"]));
    assert!(told.contains("belongs to user nobody and group root with mode 0644"), "{told}");
    let made = "groupadd --system nobody-data; chgrp nobody-data ";
    assert!(told.contains(made) && told.contains("usermod -aG nobody-data nobody"), "{told}");
    assert!(!told.contains("group 0") && !told.contains("-aG root"), "{told}");
}

#[test]
fn a_printed_command_names_the_configuration_that_was_given() {
    let sandbox = backed_up();
    let page = fs::read(sandbox.database()).unwrap().len() / 2 / 4096;
    let file = fs::OpenOptions::new().write(true).open(sandbox.database()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xA5; 4096], page as u64 * 4096).unwrap();
    let told = said(&run(&sandbox, 12, &["health", "attendance", "--deep", "--json"]));
    let command = format!("litekeeper --config {} ", sandbox.configuration().display());
    for verb in ["restore", "recover"] {
        assert!(told.contains(&format!("{command}{verb} attendance --to PATH")), "{told}");
        assert!(!told.contains(&format!("litekeeper {verb}")), "{told}");
    }
    // As it is printed, but for where to.
    let to = sandbox.path().join("restored.sqlite");
    let rest = told.split_once(&format!("{command}restore ")).unwrap().1.split(')').next().unwrap();
    let typed = format!("{command}restore {rest}").replace("PATH", to.to_str().unwrap());
    let typed = typed.replacen("litekeeper", env!("CARGO_BIN_EXE_litekeeper"), 1);
    let done = Command::new("sh").args(["-c", &typed]).current_dir("/").output().unwrap();
    assert!(done.status.success() && to.exists(), "{typed}: {}", said(&done));
}

#[test]
fn the_usage_lines_name_each_way_to_say_where_to_and_where_from() {
    let sandbox = kept();
    let usage = |verb: &str| {
        let help = run(&sandbox, 0, &[verb, "--help"]);
        text(&help.stdout).lines().find(|line| line.starts_with("Usage: ")).unwrap().to_owned()
    };
    assert!(usage("restore").contains("<--to <PATH>|--in-place>"), "{}", usage("restore"));
    assert!(usage("recover").contains("--file <PATH>"), "{}", usage("recover"));
    run(&sandbox, 2, &["restore", "attendance"]);
    run(&sandbox, 2, &["restore", "attendance", "--in-place", "--to", "/tmp/x"]);
}

#[test]
fn a_directory_as_a_path_is_a_problem_with_what_to_do() {
    let sandbox = kept();
    sandbox.configure(&format!("[database.all]\npath = {:?}", sandbox.data()));
    let told = said(&run(&sandbox, 1, &["check", "--environment", "--json"]));
    assert!(told.contains("it is a directory") && told.contains("write a table for each"), "{told}");
    assert!(!told.contains("hard links"), "{told}");
}

#[test]
fn places_that_everybody_may_write_are_a_problem() {
    let sandbox = kept();
    let problems = |code| {
        let told = json(&sandbox, code, &["check", "--environment"]);
        let looks = told["environment"].as_array().unwrap().clone();
        let wrong = looks.into_iter().filter(|look| look["result"] == "problem");
        wrong
            .map(|look| (look["about"].as_str().unwrap().to_owned(), look["text"].to_string()))
            .collect::<Vec<_>>()
    };
    let set =
        |dir: &std::path::Path, mode| fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    for (dir, about) in
        [(sandbox.state(), "daemon.state_dir"), (sandbox.backups(), "database.attendance.backup.dir")]
    {
        let before = fs::metadata(&dir).unwrap().permissions().mode();
        set(&dir, 0o777);
        let found = problems(1);
        let why = "mode 0777: every user of this machine may remove or replace";
        assert!(found.len() == 1 && found[0].0 == about && found[0].1.contains(why), "{found:?}");
        assert!(found[0].1.contains(&format!("chmod o-w {}", dir.display())), "{found:?}");
        set(&dir, before);
        assert_eq!(problems(0), []);
    }
    // Whoever may rename it may put another one there.
    set(sandbox.path(), 0o777);
    assert_eq!(problems(1).len(), 2);
}
