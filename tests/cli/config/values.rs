//! What is read: the defaults, the layers above them, and each key where it belongs.

use super::fixture::{APP, accepted, app, seconds};
use litekeeper::config::{
    Analyze, ArchiveFormat, Backup, Blackout, Children, Cleanup, Compression, Database, DateFormat, Health,
    Integrity, Keep, Maintain, Missing, Place, Pool, Reindex, RowidPolicy, Schedule, Triggers, Vacuum, Value,
    Verify, Watch, When,
};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

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
    assert_eq!((app.maintain.max_block, app.maintain.max_wal), (seconds(5), 268_435_456));
    let keep = Keep { last: 10, hourly: 24, daily: 7, weekly: 4, monthly: 12, yearly: 0 };
    assert_eq!((app.backup.level, app.backup.keep), (6, keep));
    assert!((1..=4).contains(&app.backup.threads));
    assert_eq!(app.cleanup.batch_target, Duration::from_millis(5));
    assert_eq!((app.cleanup.max_share, app.watch.slow_threshold), (0.5, seconds(1)));
    let hours: Vec<_> = litekeeper::terms::JobKind::SCHEDULED
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
    assert_eq!(limits(0), (Some("date"), None, None, litekeeper::zone::Zone::UTC, None));
    let berlin = litekeeper::zone::Zone::named("Europe/Berlin").unwrap();
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
fn every_form_of_date_has_its_word() {
    for (word, format) in [
        ("auto", None),
        ("iso", Some(DateFormat::Iso)),
        ("compact", Some(DateFormat::Compact)),
        ("unix_seconds", Some(DateFormat::UnixSeconds)),
        ("unix_milliseconds", Some(DateFormat::UnixMilliseconds)),
        ("unix_microseconds", Some(DateFormat::UnixMicroseconds)),
        ("unix_nanoseconds", Some(DateFormat::UnixNanoseconds)),
        ("chromium_microseconds", Some(DateFormat::ChromiumMicroseconds)),
        ("windows_filetime", Some(DateFormat::WindowsFiletime)),
        ("dotnet_ticks", Some(DateFormat::DotnetTicks)),
        ("apple_seconds", Some(DateFormat::AppleSeconds)),
        ("apple_nanoseconds", Some(DateFormat::AppleNanoseconds)),
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
