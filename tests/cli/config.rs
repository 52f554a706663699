//! The configuration through its public face: real TOML in, a `Config` or a rejection with places out.

use litekeeper::config::{
    Analyze, ArchiveFormat, Backup, Blackout, Children, Cleanup, Compression, Config, Database, DateFormat,
    Health, Integrity, Keep, Maintain, Missing, Place, Pool, Reindex, Rejected, RowidPolicy, Schedule,
    Triggers, Vacuum, Value, Verify, Watch, When, diff, keys,
};
#[cfg(feature = "object-storage")]
use litekeeper::config::{Bucket, Cloud};
use litekeeper::error::{Error, Reason};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

const PACKAGED: &str = include_str!("../../config/litekeeper.toml");
const APP: &str = "[database.app]\npath = \"/srv/app/data.sqlite\"\n";

fn accepted(text: &str) -> Config {
    Config::parse(text, "l.toml").unwrap_or_else(|rejected| panic!("{rejected}"))
}

fn rejected(text: &str) -> Rejected {
    Config::parse(text, "l.toml").expect_err(text)
}

/// The only problem with a text, as `line:column: message` and its help.
fn problem(text: &str) -> (String, String) {
    let rejected = rejected(text);
    assert_eq!(rejected.problems.len(), 1, "{rejected}");
    let problem = &rejected.problems[0];
    let place = problem.place.as_ref().unwrap();
    (
        format!("{}:{}: {}", place.line, place.column, problem.message),
        problem.help.clone().unwrap_or_default(),
    )
}

/// The only problem, whose message is known to the letter.
fn says(text: &str, expected: &str) {
    assert_eq!(problem(text).0, expected, "{text}");
}

fn app(text: &str) -> Database {
    accepted(text).databases["app"].as_ref().clone()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_rejection_shows_the_line_with_a_caret_and_the_remedy() {
    let text = format!("{APP}[pool]\n\tsize =\t0 # none\nretrys = 3\n");
    let expected = "\
l.toml:4:9: error: `pool.size` must be a whole number from 1 to 1000, not 0
4 | \tsize =\t0 # none
  | \t      \t^

l.toml:5:1: error: unknown key `pool.retrys`
5 | retrys = 3
  | ^^^^^^
  = help: did you mean `retries`? [pool] takes size, idle, max_overflow, timeout, recycle, retries, retry_delay, busy_timeout, pause_timeout";
    assert_eq!(rejected(&text).to_string(), expected);
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let shown = rejected("pool = { \"größe\" = \"naïve\", sise = 1 }\r\n").to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "l.toml:1:10: error: unknown key `pool.größe`");
    assert_eq!(lines[1], "1 | pool = { \"größe\" = \"naïve\", sise = 1 }");
    assert_eq!(lines[2], "  |          ^^^^^^^");
    assert_eq!(lines[5], "l.toml:1:29: error: unknown key `pool.sise`");
    assert_eq!(lines[7], "  |                             ^^^^");
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
[daemon]
listen = \"nowhere\"
parallel_jobs = 0
[pool]
timeout = 30
[backup]
level = 20
schedule = \"0 0 30 2 *\"
[database.\"no good\"]
path = \"data.sqlite\"
[database.app]
[databse]
";
    let found: Vec<(usize, usize)> = rejected(text)
        .problems
        .iter()
        .map(|p| p.place.as_ref().map(|place| (place.line, place.column)).unwrap())
        .collect();
    assert_eq!(found, [(2, 10), (3, 17), (5, 11), (7, 9), (8, 17), (9, 11), (10, 8), (11, 1), (12, 2)]);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let shown = rejected("a = \"\u{1b}[31m\"").to_string();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn syntax_errors_have_a_place_and_are_all_there_is_to_say() {
    let all = rejected("[pool]\nsize = \n[backup\nlevel = 99\n");
    assert!(all.problems.iter().all(|p| p.message.starts_with("this is not TOML: ")), "{all}");
    let lines: BTreeSet<usize> = all.problems.iter().map(|p| p.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, BTreeSet::from([2, 3]));
    says("[pool]\nsize = 1\nsize = 2\n", "3:1: this is not TOML: duplicate key");
    assert_eq!(rejected("x = [1,").problems[0].place.as_ref().unwrap().line, 1);

    let script = rejected(&"if [ -e /x ]; then\n".repeat(30));
    assert_eq!(script.problems.len(), 10);
    assert_eq!(script.problems[9].help.as_deref(), Some("so are 20 more lines: is this the right file?"));
}

#[test]
fn a_rejection_becomes_the_programs_error_and_one_line_of_status() {
    let rejected = rejected("a = 1\nb = 2\nc = 3");
    assert_eq!(rejected.summary(), "l.toml:1:1: unknown key `a` (and 2 more)");
    let error = Error::from(rejected.clone());
    assert_eq!(error.reason, Reason::Config);
    assert_eq!(error.message, rejected.to_string());
}

#[test]
fn a_file_that_cannot_be_read_is_rejected_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.toml");
    let shown = Config::load(&missing).unwrap_err().to_string();
    let expected = format!(
        "{}: error: there is no such file\n= help: litekeeper reads /etc/litekeeper/litekeeper.toml unless --config or LITEKEEPER_CONFIG names another file",
        missing.display()
    );
    assert_eq!(shown, expected);
    assert!(Config::load(dir.path()).unwrap_err().to_string().contains("error: this is a directory"));

    let latin = dir.path().join("latin.toml");
    std::fs::write(&latin, b"[pool]\n# Gr\xf6\xdfe\n").unwrap();
    let shown = Config::load(&latin).unwrap_err().to_string();
    assert!(shown.starts_with(&format!("{}:2:5: error: this is not UTF-8 text", latin.display())), "{shown}");

    std::fs::write(&latin, APP).unwrap();
    assert_eq!(Config::load(&latin).unwrap(), accepted(APP));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = accepted(APP);
    let (daemon, app) = (&config.daemon, &config.databases["app"]);
    assert_eq!(daemon.state_dir, Path::new("/var/lib/litekeeper"));
    assert_eq!(daemon.listen.unwrap().to_string(), "127.0.0.1:9742");
    assert_eq!((daemon.parallel_jobs, daemon.jobs_per_disk, daemon.shutdown_grace), (2, 1, seconds(30)));
    assert_eq!((app.pool.size, app.pool.max_overflow, app.pool.retries), (5, 10, 3));
    assert_eq!((app.pool.timeout, app.pool.recycle), (seconds(30), seconds(1800)));
    assert_eq!((app.pool.retry_delay, app.pool.busy_timeout), (seconds(1), seconds(5)));
    assert_eq!((app.maintain.vacuum_min_free, app.maintain.vacuum_min_size), (0.2, 16_777_216));
    assert_eq!((app.maintain.max_block, app.maintain.max_wal), (seconds(30), 268_435_456));
    assert_eq!((app.backup.level, app.backup.keep.last, app.backup.keep.daily), (6, 10, 0));
    assert!((1..=4).contains(&app.backup.threads));
    assert_eq!(app.cleanup.batch_target, Duration::from_millis(5));
    assert_eq!((app.cleanup.max_share, app.watch.slow_threshold), (0.5, seconds(1)));
    let hours: Vec<_> = litekeeper::config::JobKind::SCHEDULED
        .iter()
        .map(|kind| (app.when(*kind).schedule.to_string(), app.when(*kind).catch_up, app.when(*kind).timeout))
        .collect();
    assert_eq!(
        hours,
        [
            ("@hourly".to_owned(), true, seconds(6 * 3600)),
            ("30 4 * * *".to_owned(), true, seconds(6 * 3600)),
            ("0 2 * * *".to_owned(), true, seconds(4 * 3600)),
            ("0 3 * * *".to_owned(), true, seconds(4 * 3600)),
            ("*/15 * * * *".to_owned(), false, seconds(600)),
            ("0 5 * * 0".to_owned(), true, seconds(4 * 3600)),
            ("*/5 * * * *".to_owned(), false, seconds(600)),
        ]
    );
}

#[test]
fn a_database_goes_before_the_file_and_the_file_before_the_defaults() {
    let text = format!(
        "{APP}[backup]\nlevel = 3\nkeep_last = 4\n[database.app.backup]\nlevel = 9\n[database.b]\npath = \"/b\"\n"
    );
    let config = accepted(&text);
    let levels = |name: &str| (config.databases[name].backup.level, config.databases[name].backup.keep.last);
    assert_eq!(levels("app"), (9, 4));
    assert_eq!(levels("b"), (3, 4));
    assert_eq!(config.databases["b"].pool.size, 5);
}

#[test]
fn rules_indexes_and_queries_are_read_in_full() {
    let app = app(r#"
[database.app]
path = "/srv//app/./data.sqlite"
[[database.app.cleanup.rule]]
table = "attendance"
column = "date"
keep = "365d"
[[database.app.cleanup.rule]]
table = "log"
column = "at"
keep = "2w"
format = "unix_milliseconds"
triggers = "allow"
children = "cascade"
[[database.app.cleanup.rule]]
table = "blob"
keep_rows = 1000
max_size = "500MiB"
timezone = "Europe/Berlin"
archive = "csv"
archive_dir = "/srv/archive"
[[database.app.index]]
name = "i"
table = "attendance"
columns = ["user_id", "date"]
missing = "create"
[database.app.watch.today]
sql = "-- mine\n/* all */ with x as (select :user, :on, :at, :r) select * from x"
params = { user = 1, on = true, at = "2026-01-01", r = 1.5 }
"#);
    assert_eq!(app.path.to_str(), Some("/srv/app/data.sqlite"));
    let rules: Vec<_> =
        app.cleanup.rules.iter().map(|r| (&*r.table, r.keep, r.format, r.triggers, r.children)).collect();
    let milliseconds = Some(DateFormat::UnixMilliseconds);
    assert_eq!(
        rules,
        [
            ("attendance", Some(seconds(31_536_000)), None, Triggers::Refuse, Children::Refuse),
            ("log", Some(seconds(1_209_600)), milliseconds, Triggers::Allow, Children::Cascade),
            ("blob", None, None, Triggers::Refuse, Children::Refuse),
        ]
    );
    let limits = |n: usize| {
        let rule = &app.cleanup.rules[n];
        (rule.column.as_deref(), rule.keep_rows, rule.max_size, rule.timezone, rule.archive)
    };
    assert_eq!(limits(0), (Some("date"), None, None, chrono_tz::UTC, None));
    let berlin = chrono_tz::Tz::Europe__Berlin;
    assert_eq!(limits(2), (None, Some(1000), Some(500 << 20), berlin, Some(ArchiveFormat::Csv)));
    assert_eq!(app.cleanup.rules[2].archive_dir.as_deref(), Some(Path::new("/srv/archive")));
    assert_eq!((app.indexes[0].columns.len(), app.indexes[0].missing), (2, Missing::Create));
    let query = &app.watch.queries[0];
    assert_eq!(query.name, "today");
    let params: Vec<(&str, &Value)> = query.params.iter().map(|(name, value)| (&**name, value)).collect();
    let text = Value::Text("2026-01-01".to_owned());
    assert_eq!(
        params,
        [("at", &text), ("on", &Value::Integer(1)), ("r", &Value::Real(1.5)), ("user", &Value::Integer(1))]
    );
}

#[test]
fn impossible_values_say_what_is_possible() {
    for (table, line, expected) in [
        ("pool", "size = \"five\"", "`pool.size` must be a whole number from 1 to 1000, not \"five\""),
        ("pool", "size = 1.5", "`pool.size` must be a whole number from 1 to 1000, not 1.5"),
        ("pool", "retries = 0", "`pool.retries` must be a whole number from 1 to 1000, not 0"),
        (
            "pool",
            "size = 99999999999999999999",
            "`pool.size` must be a whole number from 1 to 1000, not 99999999999999999999",
        ),
        ("pool", "timeout = \"0s\"", "`pool.timeout` must be at least 1ms, not \"0s\""),
        ("pool", "busy_timeout = \"2h\"", "`pool.busy_timeout` must be at most 1h, not \"2h\""),
        (
            "pool",
            "timeout = \"5 parsecs\"",
            "`pool.timeout` must be a duration such as \"30s\", \"5m\" or \"365d\", not \"5 parsecs\": `parsecs` is not a unit; units are ms, s, m, h, d and w",
        ),
        (
            "maintain",
            "max_wal = \"1XB\"",
            "`maintain.max_wal` must be a size such as \"64MiB\", \"1GB\" or \"512\", not \"1XB\": `XB` is not a unit; units are B, KiB, MiB, GiB, TiB (1024s) and kB, MB, GB, TB (1000s)",
        ),
        (
            "maintain",
            "max_wal = -1",
            "`maintain.max_wal` must be a size such as \"64MiB\", \"1GB\" or \"512\", not -1",
        ),
        (
            "maintain",
            "vacuum_min_free = \"101%\"",
            "`maintain.vacuum_min_free` must be a share from \"0%\" to \"100%\", not \"101%\": it is more than 100%",
        ),
        (
            "maintain",
            "vacuum = \"sometimes\"",
            "`maintain.vacuum` must be \"auto\", \"incremental\", \"always\" or \"never\", not \"sometimes\"",
        ),
        ("maintain", "catch_up = \"yes\"", "`maintain.catch_up` must be true or false, not \"yes\""),
        ("backup", "level = 0", "`backup.level` must be a whole number from 1 to 19, not 0"),
        (
            "backup",
            "max_rate = \"0\"",
            "`backup.max_rate` must be \"off\" or bytes a second, such as \"20MiB\", not \"0\"",
        ),
        ("backup", "keep_last = -1", "`backup.keep_last` must be a whole number from 0 to 1000000, not -1"),
        (
            "backup",
            "compression = \"xz\"",
            "`backup.compression` must be \"gzip\", \"zstd\" or \"none\", not \"xz\"",
        ),
        ("backup", "dir = \"ftp://host/prefix\"", "`backup.dir` cannot be a place of the kind ftp://"),
        ("backup", "dir = \"backups\"", "`backup.dir` must be an absolute path, not \"backups\""),
        ("backup", "dir = \"/a/../b\"", "`backup.dir` must not contain `..`: \"/a/../b\""),
        ("verify", "timeout = \"0s\"", "`verify.timeout` must be at least 1s, not \"0s\""),
        (
            "verify",
            "schedule = \"Daily\"",
            "`verify.schedule` must be a schedule, not \"Daily\": did you mean \"@daily\"?",
        ),
        (
            "verify",
            "schedule = 5",
            "`verify.schedule` must be a cron expression such as \"0 3 * * *\", \"@hourly\" or \"never\", not 5",
        ),
        ("daemon", "parallel_jobs = 0", "`daemon.parallel_jobs` must be a whole number from 1 to 256, not 0"),
        (
            "daemon",
            "listen = \"localhost:80\"",
            "`daemon.listen` must be an IP address with a port, or \"off\", not \"localhost:80\"",
        ),
        (
            "daemon",
            "timezone = \"Europe/Berln\"",
            "`daemon.timezone` must be \"UTC\", \"local\" or an IANA name, not \"Europe/Berln\"",
        ),
        ("daemon", "log_format = \"xml\"", "`daemon.log_format` must be \"text\" or \"json\", not \"xml\""),
        ("daemon", "state_dir = \"\"", "`daemon.state_dir` is empty"),
    ] {
        let column = line.find("= ").unwrap() + 3;
        says(&format!("[{table}]\n{line}\n"), &format!("2:{column}: {expected}"));
    }
}

#[test]
fn remedies_are_named() {
    for (text, expected) in [
        ("daemon.timezone = \"europe/berlin\"", "did you mean \"Europe/Berlin\"?"),
        ("daemon.listen = \":9742\"", "for every address of this machine: \"0.0.0.0:9742\""),
        ("pool.timeout = 30", "a number needs quotes and a unit: \"30s\""),
        ("maintain.vacuum_min_free = 0.2", "write it as text with a percent sign: \"20%\""),
        ("backup.max_rate = 0", "without a limit: \"off\""),
        ("backup.dir = \"s3:/bucket\"", "a bucket has two slashes: s3://bucket/prefix"),
        ("[pool]\ntimeout = 30s # not long", "put quotes around it: timeout = \"30s\""),
        ("[pool]\nsize = 1\nsize = 1", ""),
        ("[maintain]\ncatch_up = True", ""),
        ("[backup]\ncompression = gzip", "put quotes around it: compression = \"gzip\""),
        ("backup.dir = \"~/b\"", "`~` is not expanded: write the home directory out"),
        ("pool = 3", "write [pool] on a line of its own"),
        (
            "databases.app.path = \"/x\"",
            "did you mean `database`? this file takes daemon, pool, maintain, backup, verify, cleanup, health, watch, database",
        ),
        ("cleanup.rule = []", "a rule belongs to a database: [[database.NAME.cleanup.rule]]"),
        ("watch.today.sql = \"SELECT 1\"", "a query belongs to a database: [database.NAME.watch.QUERY]"),
        ("[[index]]", "expected indexes belong to a database: [[database.NAME.index]]"),
        (
            "database.app.path = \"/x\"\ndatabase.app.index.name = \"i\"",
            "write [[database.app.index]], once for each",
        ),
    ] {
        assert_eq!(problem(text).1, expected, "{text}");
    }
}

#[test]
fn a_wrong_schedule_points_at_its_field() {
    says(
        "[backup]\nschedule = \"0 24 * * *\"\n",
        "2:15: `backup.schedule` has a wrong hour: 24 is not from 0 to 23",
    );
    says(
        "[health]\nintegrity_schedule = \"0 0 30 2 *\"\n",
        "2:27: `health.integrity_schedule` never fires: it asks for day 30, and February has at most 29 days",
    );
    says(
        "[watch]\nschedule = '''* * * * * * 2030'''\n",
        "2:12: `watch.schedule` has 7 fields: years are not supported, only 5 fields, or 6 with seconds first",
    );
}

#[test]
fn a_wrong_blackout_points_at_its_window() {
    let help = "write [\"08:00-18:00 Mon-Fri\"], or [] for none";
    says(
        "[maintain]\nblackout = [\"08:00-18:00 Mon-Fri\", \"20:00-25:00\"]\n",
        "2:43: `maintain.blackout` has the window \"20:00-25:00\", which has a wrong time, `25:00`: times are 00:00 to 24:00",
    );
    says(
        "[health]\nintegrity_blackout = [\"08:00-18:00 Mon-Frei\"]\n",
        "2:40: `health.integrity_blackout` has the window \"08:00-18:00 Mon-Frei\", which has a wrong day, `Frei`: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun",
    );
    says(
        "[backup]\nblackout = \"08:00-18:00\"\n",
        "2:12: `backup.blackout` must be a list of windows, not \"08:00-18:00\"",
    );
    says(
        "[backup]\nblackout = [\"08:00-18:00\", 5]\n",
        "2:28: `backup.blackout` must be a list of texts, not 5",
    );
    says(
        "[verify]\nblackout = [\"00:00-12:00\", \"12:00-24:00\"]\n",
        "2:12: `verify.blackout` leaves no minute of the week",
    );
    let rejected = rejected("[cleanup]\nblackout = [\"8-18\"]\n");
    assert_eq!(rejected.problems[0].help.as_deref(), Some(help));
    // What is light has none.
    for (table, key) in [("watch", "blackout"), ("health", "blackout")] {
        says(&format!("[{table}]\n{key} = []\n"), &format!("2:1: unknown key `{table}.{key}`"));
    }
}

#[test]
fn a_schedule_that_is_due_only_within_its_blackout_is_warned_of() {
    let text = format!(
        "{APP}[cleanup]\nblackout = [\"00:00-06:00\"]\n[database.app.maintain]\nblackout = [\"00:00-02:00\"]\n"
    );
    assert_eq!(
        accepted(&text).warnings,
        [
            "database app: the schedule of cleanup, \"0 2 * * *\", is due only within cleanup.blackout, 00:00-06:00: each run \
          waits until that ends"
        ]
    );
}

#[test]
fn what_is_valid_and_perhaps_not_meant_is_warned_of() {
    let doubts = |text: &str| accepted(&format!("{text}\n{APP}")).warnings;
    let [open] = doubts("[daemon]\nlisten = \"0.0.0.0:80\"").try_into().unwrap();
    assert!(open.starts_with("daemon.listen = \"0.0.0.0:80\": whoever reaches this machine"), "{open}");
    assert_eq!(doubts("[daemon]\nlisten = \"[::1]:80\""), Vec::<String>::new());
    let rule = |keep: &str| {
        let rule = format!("table = \"t\"\ncolumn = \"c\"\nkeep = \"{keep}\"");
        accepted(&format!("{APP}[[database.app.cleanup.rule]]\n{rule}")).warnings
    };
    let [soon] = rule("6m").try_into().unwrap();
    assert!(soon.contains("keeps rows for 6m only; `m` is minutes"), "{soon}");
    assert_eq!(rule("24h"), Vec::<String>::new());
}

#[test]
fn a_text_with_escapes_or_over_several_lines_is_pointed_at_as_a_whole() {
    says(
        "[watch]\nschedule = \"0 \\u0032\\u0034 * * *\"\n",
        "2:12: `watch.schedule` has a wrong hour: 24 is not from 0 to 23",
    );
    let shown =
        rejected(&format!("{APP}[database.app.watch.q]\nsql = \"\"\"\nDROP TABLE t\n\"\"\"\n")).to_string();
    let lines: Vec<&str> = shown.lines().skip(1).take(2).collect();
    assert_eq!(lines, ["4 | sql = \"\"\"", "  |       ^^^"]);
}

#[test]
fn every_form_of_date_has_its_word() {
    for (word, format) in [
        ("auto", None),
        ("iso", Some(DateFormat::Iso)),
        ("unix_seconds", Some(DateFormat::UnixSeconds)),
        ("unix_milliseconds", Some(DateFormat::UnixMilliseconds)),
        ("julian_day", Some(DateFormat::JulianDay)),
    ] {
        let rule = "table = \"t\"\ncolumn = \"c\"\nkeep = \"1d\"";
        let text = format!("{APP}[[database.app.cleanup.rule]]\n{rule}\nformat = \"{word}\"\n");
        assert_eq!(app(&text).cleanup.rules[0].format, format, "{word}");
    }
}

#[test]
fn every_key_reaches_its_own_value() {
    let job = |n: u64| {
        format!(
            "schedule = \"{n} 1 * * *\"\njitter = \"{n}s\"\ntimeout = \"{n}m\"\ncatch_up = {}\n",
            n % 2 == 1
        )
    };
    let heavy = |n: u64| format!("{}blackout = [\"0{n}:00-0{n}:30\"]\n", job(n));
    let blackout = |n: u64| {
        let mut blackout = Blackout::default();
        blackout.add(&format!("0{n}:00-0{n}:30")).unwrap();
        blackout
    };
    let when = |n: u64| When {
        schedule: Schedule::parse(&format!("{n} 1 * * *")).unwrap(),
        catch_up: n % 2 == 1,
        jitter: seconds(n),
        timeout: seconds(60 * n),
        blackout: if n == 5 || n == 7 { Blackout::default() } else { blackout(n) },
    };
    let integrity = heavy(6).replace('\n', "\nintegrity_");
    let integrity = format!("integrity_{}", integrity.trim_end_matches("integrity_"));
    let text = [
        APP.to_owned(),
        "[pool]\nsize = 11\nidle = \"18s\"\nmax_overflow = 12\ntimeout = \"13s\"\nrecycle = \"14s\"\nretries = 15\nretry_delay = \"16s\"\nbusy_timeout = \"17s\"\npause_timeout = \"19s\"\n".to_owned(),
        "[maintain]\nvacuum = \"incremental\"\nvacuum_min_free = \"21%\"\nvacuum_min_size = 22\nvacuum_rowids = \"renumber\"\n".to_owned(),
        "analyze = \"always\"\nreindex = \"never\"\nmax_block = \"23s\"\nmax_wal = \"24B\"\n".to_owned() + &heavy(1),
        "[backup]\ndir = \"/b\"\ncompression = \"none\"\nlevel = 7\nthreads = 8\nmax_rate = \"9MiB\"\nmax_snapshot = \"9s\"\nskip_unchanged = false\nkeep_last = 31\nkeep_hourly = 32\n".to_owned(),
        "keep_daily = 33\nkeep_weekly = 34\nkeep_monthly = 35\nkeep_yearly = 36\n".to_owned() + &heavy(2),
        "[verify]\nscratch_dir = \"/s\"\n".to_owned() + &heavy(3),
        "[cleanup]\nbatch_target = \"41ms\"\nmax_share = \"42%\"\n".to_owned() + &heavy(4),
        "[health]\nintegrity = \"full\"\n".to_owned() + &job(5) + &integrity,
        "[watch]\nslow_threshold = \"51s\"\n".to_owned() + &job(7),
    ];
    let expected = Database {
        name: "app".to_owned(),
        path: "/srv/app/data.sqlite".into(),
        pool: Pool {
            size: 11,
            idle: seconds(18),
            max_overflow: 12,
            timeout: seconds(13),
            recycle: seconds(14),
            retries: 15,
            retry_delay: seconds(16),
            busy_timeout: seconds(17),
            pause_timeout: seconds(19),
        },
        maintain: Maintain {
            when: when(1),
            vacuum: Vacuum::Incremental,
            vacuum_min_free: 0.21,
            vacuum_min_size: 22,
            vacuum_rowids: RowidPolicy::Renumber,
            analyze: Analyze::Always,
            reindex: Reindex::Never,
            max_block: seconds(23),
            max_wal: 24,
        },
        backup: Backup {
            when: when(2),
            dir: Place::Directory("/b".into()),
            compression: Compression::None,
            level: 7,
            threads: 8,
            max_rate: NonZeroU64::new(9 << 20),
            max_snapshot: seconds(9),
            skip_unchanged: false,
            keep: Keep { last: 31, hourly: 32, daily: 33, weekly: 34, monthly: 35, yearly: 36 },
            copies: Vec::new(),
        },
        verify: Verify { when: when(3), scratch_dir: Some("/s".into()) },
        cleanup: Cleanup {
            when: when(4),
            batch_target: Duration::from_millis(41),
            max_share: 0.42,
            rules: Vec::new(),
        },
        health: Health { when: when(5), integrity_when: when(6), integrity: Integrity::Full },
        watch: Watch { when: when(7), slow_threshold: seconds(51), queries: Vec::new() },
        indexes: Vec::new(),
    };
    assert_eq!(app(&text.concat()), expected);
    // The same keys within the database.
    let own = text.concat().replace("\n[", "\n[database.app.");
    assert_eq!(app(&own), expected);
}

#[cfg(not(feature = "object-storage"))]
#[test]
fn a_bucket_is_refused_by_a_litekeeper_that_was_built_without_them() {
    says(
        &format!("{APP}[backup]\ndir = \"s3://bucket/prefix\"\n"),
        "4:7: `backup.dir` cannot be s3://: this litekeeper was built without the feature `object-storage`",
    );
}

#[cfg(feature = "object-storage")]
#[test]
fn backups_lie_in_a_directory_or_in_a_bucket() {
    let dir = |text: &str| app(&format!("{APP}[backup]\ndir = {text:?}\n")).backup.dir;
    assert_eq!(dir("/a/b/"), Place::Directory("/a/b".into()));
    for (text, cloud, name, prefix) in [
        ("s3://my-bucket", Cloud::S3, "my-bucket", ""),
        ("s3://bucket/", Cloud::S3, "bucket", ""),
        ("gs://bucket/a/b.c", Cloud::Google, "bucket", "a/b.c"),
        ("az://container/backups/", Cloud::Azure, "container", "backups"),
    ] {
        let bucket = Bucket { cloud, name: name.to_owned(), prefix: prefix.to_owned() };
        assert_eq!(dir(text).to_string(), text.trim_end_matches('/'));
        assert_eq!(dir(text), Place::Bucket(bucket));
    }
    let wrong = |text: &str| rejected(&format!("{APP}[backup]\ndir = {text:?}\n")).to_string();
    for (text, message) in [
        ("s3://", "`backup.dir` names no bucket: \"s3://\""),
        ("s3:///prefix", "`backup.dir` names no bucket"),
        ("s3://bucket/a//b", "`backup.dir` has the part \"\" in its prefix"),
        ("s3://bucket/../b", "`backup.dir` has the part \"..\" in its prefix"),
        ("s3://bucket/a b", "`backup.dir` has the part \"a b\" in its prefix"),
        ("https://host/bucket", "`backup.dir` cannot be a place of the kind https://"),
    ] {
        let shown = wrong(text);
        assert!(shown.contains(message), "{shown}");
    }
    let shown = wrong("s3://AKIA:secret@bucket/b");
    assert!(
        shown.contains("4:7: error: `backup.dir` must be a bucket and a prefix, without user"),
        "{shown}"
    );
}

#[test]
fn a_copy_has_a_name_a_place_of_its_own_and_a_rotation() {
    let copy = |text: &str| format!("{APP}[[database.app.backup.copy]]\n{text}");
    let database = app(&format!(
        "{}[backup]\nkeep_last = 4\n",
        copy("name = \"usb\"\ndir = \"/usb\"\nkeep_daily = 9\n")
    ));
    let [usb] = &database.backup.copies[..] else { panic!("{database:?}") };
    assert_eq!((usb.name.as_str(), usb.dir.to_string().as_str()), ("usb", "/usb"));
    assert_eq!((usb.keep.last, usb.keep.daily), (4, 9));

    says(&copy("dir = \"/usb\""), "3:1: `database.app.backup.copy.name` is missing");
    says(&copy("name = \"usb\""), "3:1: `database.app.backup.copy.dir` is missing");
    says(&copy("name = \"a/b\"\ndir = \"/usb\""), "4:8: \"a/b\" cannot be the name of a copy");
    says(
        &copy("name = \"a\"\ndir = \"/usb\"\nkeep_last = 0"),
        "3:1: no backup would be kept in this copy: every `keep_` key is 0",
    );
    says(
        &copy("name = \"a\"\ndir = \"/var/backups/litekeeper\""),
        "3:1: the copy `a` lies where the backups themselves do",
    );
    let two = "name = \"a\"\ndir = \"/usb\"\n[[database.app.backup.copy]]\n";
    says(&copy(&format!("{two}name = \"a\"\ndir = \"/b\"")), "7:8: a second copy named \"a\"");
    says(&copy(&format!("{two}name = \"b\"\ndir = \"/usb\"")), "8:7: a second copy in /usb");
    says("[[backup.copy]]\nname = \"a\"", "1:10: `backup.copy` does not belong here");
}

#[test]
fn databases_need_a_safe_name_and_a_path_of_their_own() {
    says("[database.app]\n", "1:1: `database.app.path` is missing");
    says("[database.app.pool]\nsize = 1\n", "1:11: `database.app.path` is missing");
    says("database.app = \"/x\"", "1:16: `database.app` must be a table, not \"/x\"");
    for name in ["a/b", "a b", "", "..", "-x", "my.app", "é"] {
        let text = format!("[database.{name:?}]\npath = \"/x\"\n");
        says(&text, &format!("1:11: {name:?} cannot be the name of a database"));
    }
    says(
        &format!("{APP}[database.b]\npath = \"/srv//app/./data.sqlite\"\n"),
        "4:8: databases `app` and `b` are the same file",
    );
    says("[database.a]\npath = \"/x/\"", "2:8: `database.a.path` must be a file, not a directory: \"/x/\"");
}

#[test]
fn a_level_that_the_format_does_not_have_is_refused_wherever_the_two_stand() {
    let app = |rest: &str| format!("{APP}{rest}");
    let wrong = |highest, format, level| {
        format!("`backup.level` must be a whole number from 1 to {highest} for {format}, not {level}")
    };
    says(&app("[backup]\nlevel = 10\n"), &format!("4:9: {}", wrong(9, "gzip", 10)));
    says(&app("[backup]\nlevel = 20\n"), "4:9: `backup.level` must be a whole number from 1 to 19, not 20");
    let own = "[backup]\nlevel = 12\ncompression = \"zstd\"\n[database.app.backup]\ncompression = \"gzip\"\n";
    says(&app(own), &format!("4:9: {}", wrong(9, "gzip", 12)));
    let own = "[database.app.backup]\ncompression = \"zstd\"\nlevel = 19\n";
    assert_eq!(accepted(&app(own)).databases["app"].backup.level, 19);
    assert_eq!(
        accepted(&app("[backup]\ncompression = \"none\"\nlevel = 12\n")).databases["app"].backup.level,
        12
    );
}

#[test]
fn litekeepers_files_and_databases_keep_apart() {
    says(
        "[database.a]\npath = \"/var/lib/litekeeper/state.db\"",
        "2:8: database `a` is litekeeper's own state, /var/lib/litekeeper/state.db",
    );
    says(
        &format!("[backup]\ndir = \"/srv/app/data.sqlite/b\"\n{APP}"),
        "2:7: `backup.dir` lies inside database `app`, which is a file",
    );
    says(
        "[backup]\ndir = \"/srv\"\n[database.app]\npath = \"/srv/app/data.sqlite\"\n",
        "4:8: database `app` lies inside the directory of its own backups",
    );
    says(
        &format!("[daemon]\nstate_dir = \"/srv/app/data.sqlite\"\n{APP}"),
        "2:13: `daemon.state_dir` lies inside database `app`, which is a file",
    );
}

#[test]
fn a_policy_that_keeps_nothing_is_refused_where_it_is_set() {
    let says_nothing = "no backup would be kept: every `keep_` key of `backup` is 0";
    says(&format!("{APP}[database.app.backup]\nkeep_last = 0\n"), &format!("4:13: {says_nothing}"));
    let two = format!("{APP}[database.b]\npath = \"/b\"\n[backup]\nkeep_last = 0\n");
    says(&two, &format!("6:13: {says_nothing}"));
    let text = format!("{APP}[backup]\nkeep_last = 0\n[database.app.backup]\nkeep_daily = 1\n");
    assert_eq!(app(&text).backup.keep.daily, 1);
}

#[test]
fn rules_need_a_table_a_limit_and_what_the_limit_needs() {
    let rule = format!("{APP}[[database.app.cleanup.rule]]\n");
    let found: Vec<String> = rejected(&rule).problems.into_iter().map(|p| p.message).collect();
    assert_eq!(found, ["`database.app.cleanup.rule.table` is missing", "this rule limits nothing"]);
    let table = format!("{rule}table = \"t\"\n");
    let begins = |text: &str, expected: &str| {
        let found = problem(text).0;
        assert!(found.starts_with(expected), "{text}: {found}");
    };
    begins(&format!("{table}keep = \"1d\"\n"), "5:8: `keep` needs the column with the date");
    begins(
        &format!("{table}keep_rows = 0\n"),
        "5:13: `database.app.cleanup.rule.keep_rows` must be a whole number",
    );
    begins(
        &format!("{table}keep_rows = 5\narchive_dir = \"/a\"\n"),
        "6:15: `archive_dir` without an archive",
    );
    let twice = format!("{table}keep_rows = 5\n");
    begins(
        &format!("{twice}{}", twice.trim_start_matches(APP)),
        "6:1: a second rule without a column for table \"t\"",
    );
    #[cfg(feature = "object-storage")]
    {
        let in_bucket =
            format!("{table}keep_rows = 5\narchive = \"csv\"\n[backup]\ndir = \"s3://bucket/prefix\"\n");
        let found = problem(&in_bucket).0;
        assert!(found.ends_with("the archive of table \"t\" has no place"), "{found}");
        let placed = in_bucket.replace("[backup]", "archive_dir = \"/a\"\n[backup]");
        assert!(app(&placed).cleanup.rules[0].archive.is_some());
    }
    let whole = format!("{rule}table = \"t\"\ncolumn = \"c\"\nkeep = \"1d\"\n");
    says(
        &format!("{whole}[[database.app.cleanup.rule]]\ntable = \"T\"\ncolumn = \"C\"\nkeep = \"2d\"\n"),
        "7:1: a second rule for column \"C\" of table \"T\"",
    );
    says(&whole.replace("1d", "0d"), "6:8: `database.app.cleanup.rule.keep` must be at least 1s, not \"0d\"");
}

#[test]
fn indexes_have_one_name_and_some_columns() {
    let index = |name: &str, columns: &str| {
        format!("[[database.app.index]]\nname = \"{name}\"\ntable = \"t\"\ncolumns = {columns}\n")
    };
    let first = format!("{APP}{}", index("i", "[\"a\"]"));
    says(&format!("{first}{}", index("I", "[\"b\"]")), "8:8: a second index named \"I\"");
    says(&format!("{APP}{}", index("i", "[]")), "6:11: `database.app.index.columns` is an empty list");
    says(&format!("{APP}{}", index("i", "[\"\"]")), "6:11: `database.app.index.columns` is empty");
    says(&format!("{APP}{}", index("i", "[\"a\", \"A\"]")), "6:11: column \"A\" appears twice in one index");
}

#[test]
fn watched_queries_only_read_and_have_the_parameters_that_they_name() {
    let query = |rest: &str| format!("{APP}[database.app.watch.q]\n{rest}\n");
    says(&query("sql = \"DELETE FROM t\""), "4:7: query \"q\" must begin with SELECT or WITH");
    says(&query("sql = \"-- SELECT\""), "4:7: query \"q\" must begin with SELECT or WITH");
    says(&query("sql = \"SELECTED\""), "4:7: query \"q\" must begin with SELECT or WITH");
    says(&query(""), "3:1: `database.app.watch.q.sql` is missing");
    says(&query("sql = \"SELECT 1; SELECT 2\""), "4:7: query \"q\" has more than one statement");
    accepted(&query("sql = \"SELECT ';' ; -- ; SELECT 2\""));
    says(&query("sql = \"SELECT :id\""), "4:7: parameter `:id` has no value");
    says(&query("sql = \"SELECT ?\""), "4:7: parameter `?` has no name");
    accepted(&query(
        "sql = \"SELECT ':id', :user, @at, $of /* :no */\"\nparams = { user = 1, at = 2, of = 3 }",
    ));
    let both = rejected(&query("sql = \"SELECT :users\"\nparams = { user = 1 }"));
    let said: Vec<_> = both.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(said, ["parameter `:users` has no value", "parameter `user` is not in the query"]);
    says(
        &query("sql = \"SELECT :u\"\nparams.u = 2026-01-01"),
        "5:12: `u` must be text, a number or true or false, not a date",
    );
    says(&query("sql = \"SELECT :u\"\nparams.u = nan"), "5:12: `u` must be a finite number, not nan");
    says(&format!("{APP}[database.app.watch]\nslow = 1"), "4:1: unknown key `database.app.watch.slow`");
    says(
        &format!("{APP}[database.app.watch.\"a b\"]\nsql = \"SELECT 1\""),
        "3:21: \"a b\" cannot be the name of a query",
    );
}

#[test]
fn an_unknown_key_is_refused_in_every_table() {
    let tables: BTreeSet<String> = keys()
        .iter()
        .filter_map(|key| {
            key.rsplit_once('.').map(|(table, _)| table.replace("NAME", "app").replace("QUERY", "q"))
        })
        .collect();
    assert_eq!(tables.len(), 20, "{tables:?}");
    for table in tables {
        let list = matches!(table.rsplit('.').next(), Some("rule" | "index" | "copy"));
        let header = if list { format!("[[{table}]]") } else { format!("[{table}]") };
        let shown = rejected(&format!("{header}\nxyzzy = 1\n")).to_string();
        assert!(shown.contains(&format!("l.toml:2:1: error: unknown key `{table}.xyzzy`")), "{shown}");
    }
    says("xyzzy = 1", "1:1: unknown key `xyzzy`");
}

#[test]
fn a_file_without_databases_is_valid_and_warns() {
    let config = accepted("daemon.timezone = \"UTC\"");
    assert_eq!(config.warnings, ["no database is configured: add a table [database.NAME] with its path"]);
    assert_eq!(accepted(&format!("daemon.timezone = \"UTC\"\n{APP}")).warnings, Vec::<String>::new());
}

#[test]
fn the_packaged_file_states_every_default() {
    let with = |text: &str| accepted(&format!("{text}\n{APP}"));
    assert_eq!(with(PACKAGED), with(""));
}

#[test]
fn the_packaged_file_names_every_key() {
    let active: toml::Table = PACKAGED.parse().unwrap();
    let example: toml::Table = uncommented().parse().unwrap();
    for key in keys() {
        let path: Vec<&str> = key.split('.').collect();
        let found = match path[..] {
            [table, key] => active[table].as_table().unwrap().contains_key(key),
            // What the tables above have for all databases, a database may have too.
            ["database", "NAME", table, key] if active.contains_key(table) => {
                active[table].as_table().unwrap().contains_key(key)
            }
            ["database", "NAME", ref rest @ ..] => {
                let database = &example["database"]["attendance"];
                let rest = rest.iter().map(|part| if *part == "QUERY" { "todays_attendance" } else { part });
                let found = rest.into_iter().try_fold(database, |value, part| {
                    let value = value.as_array().map_or(value, |list| &list[0]);
                    value.get(part)
                });
                found.is_some()
            }
            _ => false,
        };
        assert!(found, "{key}");
    }
}

#[cfg(feature = "object-storage")]
#[test]
fn the_packaged_files_example_is_valid_when_uncommented() {
    let config = accepted(&uncommented());
    let attendance = &config.databases["attendance"];
    assert_eq!((attendance.cleanup.rules.len(), attendance.indexes.len()), (1, 1));
    assert_eq!(attendance.watch.queries.len(), 1);
    assert_eq!(attendance.backup.keep.daily, 14);
    assert_eq!(attendance.backup.copies.len(), 1);
}

/// The packaged file with every line that begins with # and no space uncommented.
fn uncommented() -> String {
    let setting = |line: &str| {
        line.strip_prefix('#').filter(|l| !l.is_empty() && !l.starts_with(' ')).map(str::to_owned)
    };
    PACKAGED.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn a_reload_knows_what_was_added_removed_and_changed() {
    let old =
        accepted("[database.a]\npath = \"/a\"\n[database.b]\npath = \"/b\"\n[database.c]\npath = \"/c\"\n");
    let new = accepted(
        "[database.a]\npath = \"/a\"\n[database.b]\npath = \"/b\"\npool.size = 6\n[database.d]\npath = \"/d\"\n",
    );
    let found = diff(&old, &new);
    assert_eq!((&*found.added, &*found.removed), (&["d".to_owned()][..], &["c".to_owned()][..]));
    assert_eq!((&*found.changed, &*found.unchanged), (&["b".to_owned()][..], &["a".to_owned()][..]));
    assert!(found.daemon.is_empty() && found.restart.is_empty());
    assert!(!found.is_empty());
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn keys_that_need_a_restart_are_told_from_those_that_do_not() {
    let old = accepted("[daemon]\ntimezone = \"UTC\"\n");
    let new = accepted(
        "[daemon]\nlisten = \"off\"\nstate_dir = \"/s\"\nlog_format = \"json\"\ntimezone = \"Asia/Tokyo\"\nparallel_jobs = 3\njobs_per_disk = 0\nshutdown_grace = \"1m\"\n",
    );
    let found = diff(&old, &new);
    let shown = |changes: &[litekeeper::config::Change]| -> Vec<String> {
        changes.iter().map(|c| format!("{} {} -> {}", c.key, c.old, c.new)).collect()
    };
    assert_eq!(
        shown(&found.restart),
        [
            "daemon.state_dir /var/lib/litekeeper -> /s",
            "daemon.listen 127.0.0.1:9742 -> off",
            "daemon.log_format text -> json"
        ]
    );
    assert_eq!(
        shown(&found.daemon),
        [
            "daemon.timezone UTC -> Asia/Tokyo",
            "daemon.parallel_jobs 2 -> 3",
            "daemon.jobs_per_disk 1 -> 0",
            "daemon.shutdown_grace 30s -> 1m"
        ]
    );
}

/// A line as a careless user might write it.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(keys());
    prop_oneof![
        key.clone().prop_map(|key| format!("{key} = 0")),
        key.clone().prop_map(|key| format!("{key} = \"5m\"")),
        key.clone().prop_map(|key| format!("[{key}]")),
        key.prop_map(|key| format!("[[{key}]]")),
        "\\PC{0,20}",
        "[a-c.\\[\\]{}=\"'#, 0-9\\\\\n\r\t]{0,24}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_accepted_or_rejected_with_places(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.join("\n");
        if let Err(rejected) = Config::parse(&text, "l.toml") {
            prop_assert!(!rejected.problems.is_empty());
            for problem in &rejected.problems {
                let place = problem.place.as_ref().unwrap();
                prop_assert!(place.line >= 1 && place.column >= 1 && place.width >= 1);
                prop_assert!(place.line <= text.matches('\n').count() + 1);
            }
            prop_assert!(rejected.to_string().contains("error: "));
        }
    }

    /// Against a naive model: the last layer that names a value wins.
    #[test]
    fn the_highest_layer_that_sets_a_key_wins(file in prop::option::of(1..9_u32), own in prop::option::of(1..9_u32)) {
        let set = |table: &str, level: Option<u32>| level.map_or(String::new(), |l| format!("[{table}]\nlevel = {l}\n"));
        let text = format!("{APP}{}{}", set("backup", file), set("database.app.backup", own));
        prop_assert_eq!(app(&text).backup.level, own.or(file).unwrap_or(6));
    }
}
