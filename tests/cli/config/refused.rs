//! What is refused, with what to write instead; and what is valid and warned of.

use super::fixture::{APP, accepted, app, problem, rejected, says};
use litekeeper::config::keys;
#[cfg(feature = "object-storage")]
use litekeeper::config::{Bucket, Cloud, Place};
use std::collections::BTreeSet;

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
        &copy(
            "name = \"a\"\ndir = \"/usb\"\nkeep_last = 0\nkeep_hourly = 0\nkeep_daily = 0\nkeep_weekly = 0\n\
             keep_monthly = 0",
        ),
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
    const NO_PERIOD: &str = "keep_hourly = 0\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n";
    let says_nothing = "no backup would be kept: every `keep_` key of `backup` is 0";
    says(
        &format!("{APP}[database.app.backup]\nkeep_last = 0\n{NO_PERIOD}"),
        &format!("4:13: {says_nothing}"),
    );
    let two = format!("{APP}[database.b]\npath = \"/b\"\n[backup]\nkeep_last = 0\n{NO_PERIOD}");
    says(&two, &format!("6:13: {says_nothing}"));
    let text = format!("{APP}[backup]\nkeep_last = 0\n{NO_PERIOD}[database.app.backup]\nkeep_daily = 1\n");
    assert_eq!(app(&text).backup.keep.daily, 1);
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
fn a_pattern_as_a_path_is_refused_with_what_to_do() {
    for path in ["/srv/*/storage.sqlite3", "/srv/app/data?.sqlite"] {
        let (wrong, help) = problem(&format!("[database.app]\npath = \"{path}\"\n"));
        assert_eq!(
            wrong,
            format!("2:8: `database.app.path` must name one file, and is a pattern: \"{path}\"")
        );
        assert!(help.contains("write a table for each database"), "{help}");
    }
    // These may be part of a name.
    let doubts = accepted("[database.app]\npath = \"/srv/{a,b}/data.sqlite\"\n").warnings;
    assert!(doubts.len() == 1 && doubts[0].contains("not as a pattern"), "{doubts:?}");
    assert_eq!(accepted("[database.app]\npath = \"/srv/a]b[/data.sqlite\"\n").warnings, [""; 0]);
}
