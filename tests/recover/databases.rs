//! Three databases to be damaged, of different kinds.

use rusqlite::Connection;
use std::path::Path;

pub const NAMES: [&str; 3] = ["attendance", "documents", "shop"];

/// Writes one of them; sound, in rollback mode, without anything beside it.
pub fn create(name: &str, path: &Path) {
    let connection = Connection::open(path).unwrap();
    let sql = match name {
        "attendance" => ATTENDANCE,
        "documents" => DOCUMENTS,
        "shop" => SHOP,
        _ => panic!("no database {name}"),
    };
    connection.execute_batch(sql).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// Small rows, several indexes, foreign keys; 4096 bytes a page.
const ATTENDANCE: &str = "
PRAGMA page_size = 4096;
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT, salary REAL);
CREATE TABLE attendance (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users(id),
  date TEXT NOT NULL, check_in TEXT, check_out TEXT, note TEXT);
CREATE INDEX idx_user_date ON attendance (user_id, date);
CREATE INDEX idx_date ON attendance (date);
CREATE VIEW today AS SELECT * FROM attendance WHERE date = CURRENT_DATE;
CREATE TRIGGER no_past BEFORE UPDATE ON attendance BEGIN SELECT 1; END;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
INSERT INTO users SELECT i, 'user ' || i, CASE i % 3 WHEN 0 THEN NULL ELSE 'staff' END, i * 10.5 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO attendance SELECT i, i % 200 + 1, date('2023-01-01', '+' || (i / 8) || ' days'), '08:' || (i % 60),
  CASE WHEN i % 5 THEN '17:' || (i % 60) END, CASE WHEN i % 50 = 0 THEN 'late, and told so ' || i END FROM n;
COMMIT;
PRAGMA user_version = 7;
";

/// Long texts and blobs on overflow pages, UTF-16, auto_vacuum, WITHOUT ROWID; 1024 bytes a page.
const DOCUMENTS: &str = "
PRAGMA page_size = 1024; PRAGMA encoding = 'UTF-16le'; PRAGMA auto_vacuum = 1;
CREATE TABLE document (id INTEGER PRIMARY KEY, title TEXT, body TEXT, image BLOB);
CREATE TABLE tag (name TEXT, document INTEGER, weight REAL, PRIMARY KEY (name, document)) WITHOUT ROWID;
CREATE TABLE loose (a, b, c);
CREATE INDEX idx_title ON document (title);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
INSERT INTO document SELECT i * 3, 'Title ' || i || ' ä€😀',
  CASE WHEN i % 3 = 0 THEN substr(long, i * 41, i * 6) ELSE 'short ' || i END,
  CASE WHEN i % 4 = 0 THEN CAST(substr(long, i * 29, i * 10) AS BLOB) WHEN i % 50 = 1 THEN zeroblob(1500) END
FROM n, (WITH RECURSIVE m(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM m WHERE j < 4000)
  SELECT group_concat(j * 7919 % 10007, ' ') AS long FROM m);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
INSERT INTO tag SELECT 'tag' || (i % 40), i, i / 7.0 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO loose SELECT i, CASE i % 4 WHEN 0 THEN 'x' || i WHEN 1 THEN i * 1.5 WHEN 2 THEN x'00ff' END, -i * 1000003 FROM n;
COMMIT;
PRAGMA application_id = 4711;
";

/// Columns added later, generated ones, free pages with deleted rows, full text search; 2048 bytes
/// a page.
const SHOP: &str = "
PRAGMA page_size = 2048;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, cents INTEGER, price REAL AS (cents / 100.0) VIRTUAL, label TEXT AS (name || '!') STORED);
CREATE TABLE log (at INTEGER, text TEXT);
CREATE TABLE \"order\" (number INTEGER PRIMARY KEY, item INTEGER REFERENCES item(id), amount INT DEFAULT 1);
CREATE VIRTUAL TABLE search USING fts5(text);
CREATE TABLE gone (a TEXT, b TEXT);
CREATE INDEX idx_item ON \"order\" (item) WHERE amount > 1;
CREATE INDEX idx_lower ON item (lower(name));
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
INSERT INTO item (id, name, cents) SELECT i, 'Item number ' || i, i * 7 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
INSERT INTO log SELECT 1700000000 + i * 60, 'event ' || i || ' of kind ' || (i % 9) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
INSERT INTO \"order\" SELECT i * 2, i % 600 + 1, i % 4 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80) INSERT INTO search SELECT 'words about ' || i FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) INSERT INTO gone SELECT 'gone ' || i, 'deleted ' || i FROM n;
COMMIT;
ALTER TABLE \"order\" ADD COLUMN paid TEXT DEFAULT 'no';
INSERT INTO \"order\" SELECT number + 5000, item, amount, 'yes' FROM \"order\" WHERE number < 500;
DELETE FROM gone WHERE rowid > 20;
DELETE FROM log WHERE rowid BETWEEN 400 AND 700;
";
