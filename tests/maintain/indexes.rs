//! Indexes that are created and rebuilt.

use std::time::Duration;

use litekeeper::config::{Index, Missing, Reindex};
use litekeeper::error::Reason;
use litekeeper::state::facts::{self, DAMAGED_INDEXES};
use litekeeper::terms::Outcome;
use serde_json::json;

use crate::fixture::{
    as_application, database, fill_with_rows, maintain, number, preview, state, text, wait_for_lock,
};
use crate::support::application::Application;
use crate::support::counted;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;

#[tokio::test(flavor = "multi_thread")]
async fn h09_reindex_rebuilds_one_index_at_a_time() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(&path, "c.execute('CREATE TABLE pairs (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID')");
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.reindex = Reindex::Always)).await;
    let mut indexes = [
        "idx_attendance_date",
        "idx_attendance_user_date",
        "idx_face_samples_user_id",
        "idx_users_created_at",
        "idx_users_name",
        "sqlite_autoindex_ledger_1",
    ];
    indexes.sort_unstable();
    let mut treated = ran.step("reindex")["treated"].as_array().unwrap().clone();
    treated.sort_by_key(ToString::to_string);
    assert_eq!(treated, indexes);
    let mut run: Vec<_> = ran.statements.iter().filter(|s| s.starts_with("REINDEX")).collect();
    run.sort_unstable();
    assert_eq!(run, indexes.map(|i| format!("REINDEX main.\"{i}\"")).iter().collect::<Vec<_>>());
    assert_sound(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_rebuilt_verified_and_forgotten() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    // Rows that came while an index was out of the schema are missing from it.
    as_application(
        &path,
        "old = c.execute(\"SELECT * FROM sqlite_master WHERE tbl_name = 'users' AND type = 'index'\").fetchall()\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.execute(\"DELETE FROM sqlite_master WHERE tbl_name = 'users' AND type = 'index'\")\n\
         c.close(); c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.execute(\"INSERT INTO users VALUES (1000, 'x', 'y', 'z')\")\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.executemany('INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)', old)",
    );
    assert_ne!(text(&path, "PRAGMA integrity_check"), "ok");
    let state = state(&sandbox);
    let auto = database(&path, |d| d.maintain.reindex = Reindex::Auto);
    let ran = maintain(&state, &auto).await;
    assert_eq!((ran.decision("reindex"), ran.why("reindex")), ("skipped", "no index needed rebuilding"));

    let found = ["idx_users_name", "idx_users_created_at", "dropped_since"].map(str::to_owned).into();
    state.now(|c| facts::remember(c, "attendance", DAMAGED_INDEXES, &found)).unwrap();
    let ran = maintain(&state, &auto).await;
    assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_users_created_at", "idx_users_name"]));
    assert_eq!(text(&path, "PRAGMA integrity_check"), "ok");
    let left = state.now(|c| facts::recall(c, "attendance", DAMAGED_INDEXES)).unwrap();
    assert_eq!(left, Vec::<String>::new());
}

/// An index that is wrong by SQLite's collation, and right by that of the same name which the
/// application has.
#[tokio::test(flavor = "multi_thread")]
async fn h34_an_index_whose_order_may_be_the_applications_own_is_not_rebuilt() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let own = "c.create_collation('NOCASE', lambda a, b: (a < b) - (a > b))\n";
    as_application(
        &path,
        &format!(
            "{own}c.execute('CREATE INDEX own ON users(name COLLATE NOCASE, id)')\nc.execute('CREATE INDEX low ON users(lower(name))')"
        ),
    );
    assert!(text(&path, "PRAGMA integrity_check").contains("missing from index own"));
    let state = state(&sandbox);
    state
        .now(|c| {
            facts::remember(
                c,
                "attendance",
                DAMAGED_INDEXES,
                &["own", "low", "idx_attendance_date"].map(str::to_owned).into(),
            )
        })
        .unwrap();
    let auto = database(&path, |d| d.maintain.reindex = Reindex::Auto);
    let ran = maintain(&state, &auto).await;
    assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_attendance_date"]));
    let left_out = ran.step("reindex")["left_out"].to_string();
    assert!(left_out.contains("own of table users") && left_out.contains("low of table users"), "{left_out}");
    as_application(
        &path,
        &format!("{own}assert c.execute('PRAGMA integrity_check').fetchall() == [('ok',)]"),
    );
}

/// The database has a tenth less in it.
const FEWER_ROWS: &str = "c.execute('DELETE FROM numbers WHERE id % 5 = 0 OR id < 100000')";

#[tokio::test(flavor = "multi_thread")]
async fn h09_an_index_that_takes_longer_than_max_block_is_not_tried_again_until_something_has_changed() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill_with_rows(&path, 300_000);
    as_application(&path, "c.execute('CREATE INDEX slow ON numbers (n)')");
    let state = state(&sandbox);
    state
        .now(|c| facts::remember(c, "attendance", DAMAGED_INDEXES, &["slow"].map(str::to_owned).into()))
        .unwrap();
    let within = |milliseconds| {
        database(&path, |d| {
            d.maintain.reindex = Reindex::Auto;
            d.maintain.max_block = Duration::from_millis(milliseconds);
            d.indexes = vec![Index {
                name: "new".into(),
                table: "numbers".into(),
                columns: vec!["n".into()],
                missing: Missing::Create,
            }];
        })
    };
    let steps = ["indexes", "reindex"];
    let short = within(30);
    let mut ran = maintain(&state, &short).await;
    assert_eq!(steps.map(|step| ran.decision(step)), ["interrupted"; 2], "{:?}", ran.finished.result);
    // On a busy machine more than a tenth of the time is over before it begins: nothing is known
    // then.
    for _ in 0..20 {
        ran = maintain(&state, &short).await;
        if steps.iter().all(|step| ran.decision(step) == "refused") {
            break;
        }
    }
    assert_eq!(steps.map(|step| ran.decision(step)), ["refused"; 2], "{:?}", ran.finished.result);
    assert!(!ran.ran("CREATE INDEX") && !ran.ran("REINDEX"), "{:?}", ran.statements);
    let problems = ran.problems();
    let told = |(reason, text): &(Reason, &str)| {
        *reason == Reason::Refused
            && text.contains("maintain.max_block = 30ms")
            && text.contains("after 30ms")
    };
    assert!(problems.len() == 2 && problems.iter().all(told), "{problems:?}");

    for (change, limit, decision) in
        [("", 30, "refused"), ("", 60_000, "planned"), (FEWER_ROWS, 30, "planned")]
    {
        as_application(&path, change);
        let ran = preview(&state, &within(limit)).await;
        assert_eq!(steps.map(|step| ran.decision(step)), [decision; 2], "{:?}", ran.finished.result);
    }
    let ran = maintain(&state, &within(60_000)).await;
    assert_eq!(steps.map(|step| ran.decision(step)), ["done"; 2], "{:?}", ran.finished.result);
    assert_eq!(ran.step("reindex")["treated"], json!(["slow"]));
}

/// What the application had the lock for says nothing of the index.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_never_got_the_lock_is_tried_again() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let state = state(&sandbox);
    state
        .now(|c| {
            facts::remember(c, "attendance", DAMAGED_INDEXES, &["idx_users_name"].map(str::to_owned).into())
        })
        .unwrap();
    let mut application = Application::start(&path);
    application.hold_write();
    let within_a_second = database(&path, |d| {
        d.maintain.reindex = Reindex::Auto;
        d.maintain.max_block = Duration::from_secs(1);
    });
    let ran = maintain(&state, &within_a_second).await;
    let problems = ran.problems();
    let [(Reason::Busy, message)] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(message.contains("held the lock all the time"), "{message}");
    application.release();
    let ran = maintain(&state, &within_a_second).await;
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_users_name"]), "{:?}", ran.finished.result);
    application.stop();
}

/// Checks are made beside maintenance.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_a_check_finds_wrong_meanwhile_is_not_forgotten() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let state = state(&sandbox);
    let wrong = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        state.now(|c| facts::remember(c, "checked", DAMAGED_INDEXES, &names)).unwrap();
    };
    wrong(&["idx_users_name"]);
    let auto = database(&path, |d| {
        d.name = "checked".into();
        d.maintain.reindex = Reindex::Auto;
    });
    counted::count("checked", &["maintain"], &[]);
    let mut application = Application::start(&path);
    application.hold_write();
    let run = tokio::spawn({
        let state = state.clone();
        async move { maintain(&state, &auto).await }
    });
    wait_for_lock("checked");
    wrong(&["idx_users_name", "idx_attendance_date"]);
    application.release();
    let ran = run.await.unwrap();
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_users_name"]), "{:?}", ran.finished.result);
    let left = state.now(|c| facts::recall(c, "checked", DAMAGED_INDEXES)).unwrap();
    assert_eq!(left, ["idx_attendance_date"]);
    application.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_rebuilt_stays_on_the_list() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(
        &path,
        "c.executescript('''CREATE TABLE pair (a, b);
         CREATE UNIQUE INDEX idx_pair ON pair (a); INSERT INTO pair VALUES (1, 1);''')\n\
         old = c.execute(\"SELECT * FROM sqlite_master WHERE name = 'idx_pair'\").fetchall()\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.execute(\"DELETE FROM sqlite_master WHERE name = 'idx_pair'\")\n\
         c.close(); c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.execute('INSERT INTO pair VALUES (1, 2)')\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.executemany('INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)', old)",
    );
    let state = state(&sandbox);
    state
        .now(|c| {
            facts::remember(
                c,
                "attendance",
                DAMAGED_INDEXES,
                &["idx_pair", "idx_users_name"].map(str::to_owned).into(),
            )
        })
        .unwrap();
    let ran = maintain(&state, &database(&path, |d| d.maintain.reindex = Reindex::Auto)).await;
    assert_eq!(ran.finished.outcome, Outcome::Failure);
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_users_name"]));
    let problems = ran.problems();
    let [(Reason::Sqlite, message)] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(message.starts_with("REINDEX idx_pair of table pair: UNIQUE"), "{message}");
    let left = state.now(|c| facts::recall(c, "attendance", DAMAGED_INDEXES)).unwrap();
    assert_eq!(left, ["idx_pair"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_indexes_are_created_where_the_configuration_says_so() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let index = |name: &str, table: &str, columns: &[&str], missing| Index {
        name: name.into(),
        table: table.into(),
        columns: columns.iter().map(ToString::to_string).collect(),
        missing,
    };
    let database = database(&path, |d| {
        d.indexes = vec![
            index("wanted", "face_samples", &["user_id", "captured_at"], Missing::Create),
            index("only_reported", "users", &["email"], Missing::Report),
            index("idx_users_name", "users", &["name"], Missing::Create),
            index("astray", "users", &["nmae"], Missing::Create),
            index("lost", "nowhere", &["a"], Missing::Create),
        ];
    });
    let ran = maintain(&state(&sandbox), &database).await;
    assert_eq!(ran.step("indexes")["treated"], json!(["wanted"]));
    assert_eq!(
        ran.problems(),
        [
            (Reason::NotFound, "CREATE INDEX astray: table users has no column nmae"),
            (Reason::NotFound, "CREATE INDEX lost: there is no table nowhere"),
        ]
    );
    let names =
        "SELECT group_concat(name, ' ') FROM (SELECT name FROM pragma_index_info('wanted') ORDER BY seqno)";
    assert_eq!(text(&path, names), "user_id captured_at");
    let others = "SELECT count(*) FROM sqlite_schema WHERE name IN ('only_reported', 'astray', 'lost')";
    assert_eq!(number(&path, others), 0);
    // The steps after it were looked at all the same.
    assert_eq!(ran.decision("checkpoint"), "done");
}
