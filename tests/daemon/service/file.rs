//! The configuration's file, whatever somebody has put in its place.

use crate::fixture::{count, reload};
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::{newest, wait_for_run};
use crate::support::sandbox::{Sandbox, said};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

#[test]
fn a_fifo_in_place_of_the_file_is_refused_and_a_good_file_after_it_is_taken() {
    let sandbox = Sandbox::new();
    let good = fs::read_to_string(sandbox.configure("")).unwrap();
    let daemon = Daemon::start(&sandbox.configuration());
    fs::remove_file(sandbox.configuration()).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.configuration()).status().unwrap().success());
    let log = reload(&daemon, "failure");
    assert!(log.contains("it is a FIFO, a socket or a device, and no file"), "{log}");
    let check = sandbox.litekeeper(&["check"]);
    assert_eq!(check.status.code(), Some(78), "{}", said(&check));
    fs::remove_file(sandbox.configuration()).unwrap();
    sandbox.configure_as(&good);
    assert!(reload(&daemon, "success").contains("nothing changed"));
    assert!(daemon.stop().success());
}

#[test]
fn a_file_that_is_no_configuration_is_refused_by_its_size_and_by_its_first_hundred_problems() {
    let sandbox = Sandbox::new();
    let good = fs::read_to_string(sandbox.configure("")).unwrap();
    let file = fs::File::create(sandbox.configuration()).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    let output = sandbox.litekeeper(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(said(&output).contains("this file has more than 16 MB"), "{}", said(&output));

    let daemon = Daemon::start(&sandbox.configure_as(&good));
    let mut many = good;
    many.push_str("[pool]\n");
    for key in 0..100_000 {
        writeln!(many, "key_{key} = 1").unwrap();
    }
    sandbox.configure_as(&many);
    let output = sandbox.litekeeper(&["check"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(text.matches("error: unknown key `pool.key_").count(), 100);
    // From the beginning of the file.
    assert!(text.contains("`pool.key_0`") && text.contains("`pool.key_99`"), "{text}");
    assert!(text.contains("99900 more problems, which are not shown"), "{text}");
    let log = reload(&daemon, "failure");
    assert!(log.contains("99900 more problems"), "{log}");
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    assert!(daemon.stop().success());
}

#[test]
fn the_last_database_is_not_let_go_of_by_a_file_that_has_lost_it() {
    let sandbox = Sandbox::new();
    let mut table: toml::Table =
        fs::read_to_string(sandbox.configure(BACKUP_EACH_SECOND)).unwrap().parse().unwrap();
    let daemon = Daemon::start(&sandbox.configuration());
    table.remove("database");
    sandbox.configure_as(&table.to_string());
    let log = reload(&daemon, "failure");
    assert!(log.contains("no database is configured"), "{log}");
    wait_for_run(&sandbox, "backup", newest(&sandbox), "success");
    assert!(count(&daemon, "attendance", "backup", "success") > 0.0);
    assert!(daemon.stop().success());
    // Neither does a start or a check take it for what was meant.
    for verb in ["check", "run"] {
        let output = sandbox.litekeeper(&[verb]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("no database is configured") && text.contains("[database.NAME]"), "{text}");
    }
}
