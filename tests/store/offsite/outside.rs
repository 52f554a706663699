//! The program with a sandbox of its own and a way out of the machine.

use crate::buckets::{azure, gateway, s3};
use crate::support::sandbox::{Sandbox, program, said};
use serde_json::Value;
use std::process::{Command, Output};

/// What nobody may ever see.
const SECRETS: [&str; 4] = [s3::SECRET, s3::KEY, azure::KEY, gateway::TOKEN];

/// A sandbox, and what the environment says of the servers.
pub(crate) struct Outside {
    pub(crate) sandbox: Sandbox,
    variables: Vec<(&'static str, String)>,
}

impl Outside {
    pub(crate) fn new(configuration: &str, variables: &[(&'static str, String)]) -> Self {
        let sandbox = Sandbox::new();
        sandbox.configure(configuration);
        Self { sandbox, variables: variables.to_vec() }
    }

    /// From now on these stand in the environment.
    pub(crate) fn set(&mut self, variables: &[(&'static str, String)]) {
        self.variables.extend_from_slice(variables);
    }

    pub(crate) fn environment(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        let mut command = program();
        self.environment(&mut command);
        command.arg("--config").arg(self.sandbox.configuration()).args(args);
        command.output().unwrap()
    }

    /// What it did, after it ended with this code and told nobody a secret.
    fn ended(&self, code: i32, args: &[&str]) -> Output {
        let output = self.output(args);
        let all = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{all}");
        assert!(!SECRETS.iter().any(|secret| all.contains(secret)), "{args:?}\n{all}");
        output
    }

    /// All that it says.
    pub(crate) fn says(&self, code: i32, args: &[&str]) -> String {
        said(&self.ended(code, args))
    }

    /// Its output.
    pub(crate) fn run(&self, code: i32, args: &[&str]) -> String {
        String::from_utf8(self.ended(code, args).stdout).unwrap()
    }

    pub(crate) fn json(&self, code: i32, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(code, &[args, &["--json"]].concat())).unwrap()
    }

    /// Names of the backups, the newest first.
    pub(crate) fn backups(&self, args: &[&str]) -> Vec<String> {
        let listed = self.json(0, &[&["backups", "attendance"], args].concat());
        let name = |backup: &Value| {
            assert_eq!(backup["state"], "good", "{listed}");
            backup["name"].as_str().unwrap().to_owned()
        };
        listed.as_array().unwrap().iter().map(name).collect()
    }
}
