//! How much memory a command takes. Must never count what the test itself takes.

use std::process::Command;

use crate::support::sandbox::{Sandbox, program, said};

/// KiB that the largest process of a command had, the command's own included, and what was said.
pub fn most_memory(sandbox: &Sandbox, args: &[&str]) -> (u64, String) {
    const MEASURE: &str = "import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-I", "-c", MEASURE, program().get_program().to_str().unwrap()]);
    let output = command.arg("--config").arg(sandbox.configuration()).args(args).output().unwrap();
    let all = said(&output);
    (String::from_utf8(output.stdout).unwrap().trim().parse().unwrap(), all)
}
