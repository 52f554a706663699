//! What a reload changes, and what needs a restart.

use super::fixture::accepted;
use litekeeper::config::diff;

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
