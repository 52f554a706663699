-- How often a shape took how long, as JSON of state::times, and its last plan, as JSON of its lines.
ALTER TABLE slow_statement ADD COLUMN times TEXT NOT NULL DEFAULT '{}';
ALTER TABLE slow_statement ADD COLUMN plan TEXT NOT NULL DEFAULT '[]';

-- What has a size: a database's file, the free pages in it, a table, an index.
CREATE TABLE size_series (
    id       INTEGER PRIMARY KEY,
    database TEXT NOT NULL,
    kind     TEXT NOT NULL, -- file, free, table, index
    name     TEXT NOT NULL, -- of the table or index
    seen     INTEGER NOT NULL,
    UNIQUE (database, kind, name)
);

-- The sizes, thinned as they age.
CREATE TABLE size_sample (
    series INTEGER NOT NULL REFERENCES size_series ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    PRIMARY KEY (series, at)
) WITHOUT ROWID;
