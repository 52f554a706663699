//! `backup.max_rate`: it spares the disk of the backups, and never at the expense of the
//! application's writers.

use super::fixture::ballast;
use crate::support::application::Application;
use crate::support::sandbox::{Sandbox, said};

#[test]
fn outside_wal_mode_a_rate_does_not_lengthen_the_time_for_which_writers_wait() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 8);
    application.stop();
    // At this rate it would take 80 seconds, and be given up after a quarter of them.
    sandbox.configure("[maintain]\nmax_block = \"20s\"\n[backup]\nmax_rate = \"100KiB\"\n");
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("writers had to wait for"), "{}", said(&output));
}
