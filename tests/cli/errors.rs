//! Every way in which a database cannot be used has a word and a text of its own that says where
//! and what to do: each made for real, and told by the real program.

use super::troubles::{Through, Trouble, troubles};
use crate::support::application::{Application, create_database};
use crate::support::sandbox::{Sandbox, copy_for_all, program};
use crate::support::{skip, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `None` where it cannot be run that way here.
fn run(sandbox: &Sandbox, through: Through, verb: &str) -> Option<Output> {
    let arguments = ["--json", "--config", sandbox.configuration().to_str().unwrap(), verb, "attendance"]
        .map(str::to_owned);
    let plain = program();
    let wrapped = |words: &[&str], binary: &Path| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(binary);
        command
    };
    let is_root = rustix::process::geteuid().is_root();
    let binary = Path::new(plain.get_program()).to_owned();
    let data = sandbox.data();
    let mut command = match through {
        Through::Nothing => plain,
        Through::AnotherUser | Through::ReadOnlyMount if !is_root => {
            skip("only root can be another user, or mount");
            return None;
        }
        Through::AnotherUser => {
            let copy = sandbox.path().join("litekeeper");
            copy_for_all(&binary, &copy);
            wrapped(&["setpriv", "--reuid=4712", "--regid=4712", "--clear-groups", "--"], &copy)
        }
        Through::ReadOnlyMount => {
            let script =
                "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
            let data = data.to_str().unwrap();
            wrapped(&["unshare", "--mount", "sh", "-c", script, "sh", data], &binary)
        }
        Through::BrokenDisk => {
            let database = sandbox.database();
            let database = database.to_str().unwrap();
            let trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", database, "-e", "trace=pread64"];
            if Command::new("strace").args(["-e", "trace=none", "true"]).status().is_ok_and(|s| s.success()) {
                wrapped(&[&trace[..], &["-e", "inject=pread64:error=EIO"]].concat(), &binary)
            } else {
                skip("strace is missing, or may not trace");
                return None;
            }
        }
    };
    Some(command.args(arguments).output().unwrap())
}

#[test]
fn each_trouble_has_a_word_a_text_and_a_remedy_of_its_own() {
    let wrong: Vec<String> =
        troubles().into_iter().filter_map(|(name, trouble)| tell(name, &trouble)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with what is said; `None` where nothing is.
fn tell(name: &str, trouble: &Trouble) -> Option<String> {
    let sandbox = Sandbox::new();
    sandbox.configure("[pool]\nretries = 1\n");
    (trouble.make)(&sandbox);
    let output = run(&sandbox, trouble.through, trouble.verb)?;
    let said = format!("{name}: {output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let faults = ["findings", "problems"].map(|list| told[list].as_array().expect(&said).clone()).concat();
    // A run that could not be made is a failed one, with its reason in the history.
    let (reason, message) = match faults.first() {
        Some(fault) => (fault["reason"].clone(), fault["message"].clone()),
        None => (told["reason"].clone(), told["summary"].clone()),
    };
    let message = message.as_str().expect(&said);
    let database = sandbox.database();
    let words = trouble.words.iter().copied().chain([database.to_str().unwrap()]);
    let missing: Vec<&str> = words.filter(|word| !message.contains(word)).collect();
    let expected = (Some(trouble.reason.as_str()), Some(trouble.code));
    if (reason.as_str(), output.status.code()) != expected || !missing.is_empty() {
        return Some(format!("not {expected:?} with {missing:?}: {said}"));
    }
    if faults.is_empty() {
        let runs = crate::support::history::runs(&sandbox, "attendance", trouble.verb);
        assert_eq!((runs[0].outcome.as_str(), runs[0].reason.as_str()), ("failure", trouble.reason.as_str()));
    }
    None
}

#[test]
fn h21_who_keeps_everybody_out_is_named() {
    let sandbox = Sandbox::new();
    sandbox.configure("[pool]\nbusy_timeout = \"50ms\"\n");
    let application = Application::start_with(&sandbox.database(), &["--locking-mode", "exclusive"], None);
    let output = run(&sandbox, Through::Nothing, "health").unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fault = &told["findings"][0];
    assert_eq!((&fault["reason"], output.status.code()), (&"held".into(), Some(1)), "{told}");
    let who = format!("process {} (", application.pid());
    let database = sandbox.database();
    for word in
        [who.as_str(), database.to_str().unwrap(), "locking_mode = EXCLUSIVE", "pool.busy_timeout (50ms)"]
    {
        assert!(fault["message"].as_str().unwrap().contains(word), "{word:?} is not in {fault}");
    }
}

#[test]
fn h21_a_database_held_in_exclusive_mode_is_held_for_every_job() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[pool]\nbusy_timeout = \"50ms\"\n[[database.attendance.cleanup.rule]]\ntable = \"attendance\"\n\
         keep_rows = 1\n",
    );
    let application = Application::start_with(&sandbox.database(), &["--locking-mode", "exclusive"], None);
    let who = format!("process {} (", application.pid());
    // At the same time, as each is tried again: one of them alone may have the lock of the run.
    let verbs = ["maintain --dry-run", "cleanup --dry-run", "cleanup", "health"];
    let run = |verb: &'static str| {
        let (name, rest) = verb.split_once(' ').map_or((verb, None), |(name, rest)| (name, Some(rest)));
        let args: Vec<&str> = ["--json", name, "attendance"].into_iter().chain(rest).collect();
        sandbox.litekeeper(&args)
    };
    let run = &run;
    std::thread::scope(|scope| {
        for (verb, thread) in verbs.map(|verb| (verb, scope.spawn(move || run(verb)))) {
            let output = thread.join().unwrap();
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            let (reason, text) = match &told["findings"][0] {
                Value::Null => (&told["reason"], &told["summary"]),
                found => (&found["reason"], &found["message"]),
            };
            assert_eq!((reason, output.status.code()), (&"held".into(), Some(1)), "{verb}: {told}");
            let text = text.as_str().unwrap();
            assert!(text.contains(&who) && text.contains("locking_mode = NORMAL"), "{verb}: {text}");
        }
    });
}

#[test]
fn a_run_whose_database_is_replaced_is_stopped_and_the_next_one_takes_the_new_file() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let configuration = sandbox.configure("[pool]\nbusy_timeout = \"60s\"\n");
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    let mut command = program();
    command.args(["--json", "--config", configuration.to_str().unwrap(), "maintain", "attendance"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let descriptors = format!("/proc/{}/fd", running.id());
    wait_until("it has the database open, and waits", || {
        let open = fs::read_dir(&descriptors).ok()?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        open.into_iter().any(|file| file == sandbox.database()).then_some(())
    });
    let other = sandbox.path().join("other.sqlite");
    create_database(&other, &["--rows", "7"]);
    fs::rename(&other, sandbox.database()).unwrap();
    application.release();
    let output = running.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["reason"], output.status.code()), (&"replaced".into(), Some(1)), "{told}");
    let database = sandbox.database();
    for word in ["another file was put in place of", database.to_str().unwrap(), "restart whatever"] {
        assert!(told["summary"].as_str().unwrap().contains(word), "{word:?} is not in {told}");
    }
    let runs = crate::support::history::runs(&sandbox, "attendance", "maintain");
    assert_eq!(runs[0].reason, "replaced");
    assert!(sandbox.litekeeper(&["maintain", "attendance"]).status.success());
}
