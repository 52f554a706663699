//! Rules, indexes and queries: what each needs, and what is refused of it.

use super::fixture::{APP, accepted, problem, rejected, says};

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
        assert!(super::fixture::app(&placed).cleanup.rules[0].archive.is_some());
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
