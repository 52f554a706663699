-- Runs are in the order of their numbers: the clock may have been ahead.
DROP INDEX run_by_job;
DROP INDEX run_by_time;
CREATE INDEX run_by_job ON run (database, job);

-- One row, which a daemon writes every few seconds: so it knows that it can.
CREATE TABLE heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
);
