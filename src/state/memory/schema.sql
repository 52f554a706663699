-- One row for each run of a job; `finished` is null while it runs, and after a crash.
CREATE TABLE run (
    id       INTEGER PRIMARY KEY,
    database TEXT NOT NULL,
    job      TEXT NOT NULL,
    cause    TEXT NOT NULL, -- schedule, catch_up, manual, upkeep
    pid      INTEGER NOT NULL,
    started  INTEGER NOT NULL, -- milliseconds since 1970, UTC; likewise below
    finished INTEGER,
    outcome  TEXT, -- success, failure, skipped, interrupted
    reason   TEXT,
    summary  TEXT NOT NULL DEFAULT '',
    detail   TEXT NOT NULL DEFAULT 'null' -- JSON
);
CREATE INDEX run_by_job ON run (database, job, started);
CREATE INDEX run_by_time ON run (started);

-- Statements slower than the threshold, by shape; no literal is ever stored.
CREATE TABLE slow_statement (
    database          TEXT NOT NULL,
    shape             TEXT NOT NULL,
    job               TEXT NOT NULL, -- the last that ran it
    count             INTEGER NOT NULL,
    total_us          INTEGER NOT NULL,
    max_us            INTEGER NOT NULL,
    vm_steps          INTEGER NOT NULL,
    full_scan_steps   INTEGER NOT NULL,
    sorts             INTEGER NOT NULL,
    automatic_indexes INTEGER NOT NULL,
    first_seen        INTEGER NOT NULL,
    last_seen         INTEGER NOT NULL,
    PRIMARY KEY (database, shape)
) WITHOUT ROWID;

-- What a job wants to know the next time: the last size, results of checks, plans.
CREATE TABLE fact (
    database TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL, -- JSON
    at       INTEGER NOT NULL,
    PRIMARY KEY (database, name)
) WITHOUT ROWID;
