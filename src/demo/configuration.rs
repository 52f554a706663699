//! The text of the demo's `litekeeper.toml`: every job within seconds, with comments that teach.
//! Must never leave a path relative: the daemon may be started on it from anywhere.

use std::net::SocketAddr;
use std::path::Path;

use super::Demo;
use crate::error::{Error, Reason, Result};

/// The first line, by which an earlier demo is known.
const FIRST_LINE: &str = "# Written by `litekeeper demo`: one database, every job within seconds.";

/// Whether a configuration was written by a demo, edited since or not.
pub(super) fn is_a_demos(text: &str) -> bool {
    text.lines().next() == Some(FIRST_LINE)
}

/// The configuration. The three jobs that the demo promises within ten seconds each come every
/// four, so that even the last of them has time to wait for the others.
pub(super) fn text(demo: &Demo, listen: SocketAddr) -> Result<String> {
    let (database, backups, state) = (quoted(&demo.database)?, quoted(&demo.backups)?, quoted(&demo.state)?);
    Ok(format!(
        r#"{FIRST_LINE}
#
# Try it: change something here while the demo runs, `kill -HUP` it, and see the log. A mistake is shown with its
# line, and the old configuration stays in force. The next demo in this directory writes this file anew and keeps
# yours as litekeeper.toml.old.
#
# Schedules have six fields here, seconds first; with five, minutes come first as in crontab.

[daemon]
state_dir = {state}
listen    = "{listen}"   # status page at /, Prometheus at /metrics

# Each of the next tables holds for all databases; [database.NAME.backup] and so on say otherwise for one.

[backup]
schedule  = "*/4 * * * * *"           # seconds 0, 4, 8 …; the default is once an hour
dir       = {backups}
keep_last = 5                         # older ones go once a newer one is complete, but for the newest of each hour and so on

[cleanup]
schedule  = "1-59/4 * * * * *"        # seconds 1, 5, 9 …
# The sample holds three years and the rule below keeps one: the first run removes two thirds. By default a run
# that would remove more than half of a table is refused, for the day on which the clock is wrong.
max_share = "80%"

[pool]
# The application begins what it writes with BEGIN IMMEDIATE, so that none of it fails for a commit beside it, and no pause
# between its transactions need be waited for. That would be seen of a program of its own; this one is a part of the demo.
pause_timeout = "0s"

[maintain]
schedule        = "3-59/4 * * * * *"  # seconds 3, 7, 11 …; at night in real life
vacuum_min_free = "5%"                # VACUUM when a twentieth of the file is free pages …
vacuum_min_size = "512KiB"            # … and at least so much would come back

[health]
schedule           = "2-59/4 * * * * *"
integrity_schedule = "5-59/12 * * * * *"

[verify]
schedule = "5-59/30 * * * * *"        # restores the newest backup for real and checks it

[watch]
schedule       = "2-59/4 * * * * *"
slow_threshold = "100ms"              # a slower statement is logged, counted and kept

[database.attendance]
path = {database}

# Rows whose date is older than a year go, a few at a time, so that the application hardly waits.
[[database.attendance.cleanup.rule]]
table  = "attendance"
column = "date"
keep   = "365d"

# Indexes that the application relies on: one that is missing or differs is reported.
[[database.attendance.index]]
name    = "idx_users_name"
table   = "users"
columns = ["name"]

[[database.attendance.index]]
name    = "idx_users_created_at"
table   = "users"
columns = ["created_at"]

[[database.attendance.index]]
name    = "idx_face_samples_user_id"
table   = "face_samples"
columns = ["user_id"]

[[database.attendance.index]]
name    = "idx_attendance_user_date"
table   = "attendance"
columns = ["user_id", "date"]

[[database.attendance.index]]
name    = "idx_attendance_date"
table   = "attendance"
columns = ["date"]

# A query of the application's that must stay fast: it is timed, and a change of its plan is reported.
[database.attendance.watch.todays_attendance]
sql    = "SELECT a.* FROM attendance a WHERE a.user_id = :user AND a.date = CURRENT_DATE"
params = {{ user = 1 }}
"#
    ))
}

/// A path as a TOML string.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        let text =
            format!("{} is not UTF-8, as a configuration must be; choose another --dir", path.display());
        Error::new(Reason::Refused, text)
    })?;
    Ok(toml::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Schedule;
    use chrono::{DateTime, TimeDelta, Utc};

    fn parsed(dir: &str) -> toml::Table {
        let dir = Path::new(dir);
        let demo = Demo {
            dir: dir.to_owned(),
            database: dir.join("attendance.sqlite"),
            configuration: dir.join("litekeeper.toml"),
            backups: dir.join("backups"),
            state: dir.join("state"),
            written: None,
        };
        let text = text(&demo, "127.0.0.1:1".parse().unwrap()).unwrap();
        assert!(is_a_demos(&text));
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn backs_up_cleans_up_and_maintains_within_four_seconds_of_any_start() {
        let configuration = parsed("/x");
        for job in ["backup", "cleanup", "maintain"] {
            let schedule = Schedule::parse(configuration[job]["schedule"].as_str().unwrap()).unwrap();
            for second in 0..60 {
                let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second);
                let next = crate::schedule::calendar::next(&schedule, crate::zone::Zone::UTC, start).unwrap();
                assert!(next - start <= TimeDelta::seconds(4), "{job} after {start} only at {next}");
            }
        }
    }

    #[test]
    fn every_schedule_can_be_read() {
        for table in parsed("/x").values().filter_map(toml::Value::as_table) {
            for (key, value) in table.iter().filter(|(key, _)| key.ends_with("schedule")) {
                Schedule::parse(value.as_str().unwrap())
                    .map_err(|e| format!("{key}: {}", e.message))
                    .unwrap();
            }
        }
    }

    #[test]
    fn a_directory_with_quotes_and_backslashes_in_its_name_is_written_as_it_is() {
        let dir = "/a \"b\" 'c' \\d # é";
        assert_eq!(parsed(dir)["backup"]["dir"].as_str().unwrap(), format!("{dir}/backups"));
    }
}
