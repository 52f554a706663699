//! The schemas: of the guide, and as Django, Rails and PocketBase make theirs.

/// What the manual's application asks most, and the indexes that its configuration declares for it.
pub(crate) const GUIDE: [(&str, &str); 5] = [
    ("user_by_name", "SELECT * FROM users WHERE name = 'Name 77'"),
    ("new_users", "SELECT * FROM users WHERE created_at >= '2025-06-01' ORDER BY created_at"),
    ("samples_of_user", "SELECT id, embedding FROM face_samples WHERE user_id = :user"),
    ("todays_attendance", "SELECT a.* FROM attendance a WHERE a.user_id = :user AND a.date = '2024-01-15'"),
    (
        "day",
        "SELECT u.name, a.time_in FROM attendance a JOIN users u ON u.id = a.user_id WHERE a.date = '2024-01-15'",
    ),
];

/// The attendance database of the manual, without its indexes.
pub(crate) const ATTENDANCE: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, created_at TEXT NOT NULL);
    CREATE TABLE face_samples (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
        embedding BLOB NOT NULL, captured_at TEXT NOT NULL);
    CREATE TABLE attendance (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), date TEXT NOT NULL,
        time_in TEXT NOT NULL, time_out TEXT, confidence REAL NOT NULL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO users SELECT i, 'Name ' || (i * 7919 % 2003), 'user' || i || '@example.com', date('2020-01-01', i || ' days') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO face_samples SELECT i, 1 + i * 31 % 2000, zeroblob(512), date('2020-01-01', (i / 6) || ' days') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39999)
    INSERT INTO attendance SELECT i + 1, 1 + i % 100, date('2023-01-01', (i / 100) || ' days'), '08:00:00', NULL, 0.9 FROM n;";

/// Rows of a corpus: a thousand to forty thousand for each table, in no order that an index would
/// have.
pub(crate) const DJANGO: &str = "
    CREATE TABLE auth_user (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, username varchar(150) NOT NULL UNIQUE, email varchar(254) NOT NULL,
        is_active bool NOT NULL, date_joined datetime NOT NULL, last_login datetime NULL);
    CREATE TABLE blog_post (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, author_id integer NOT NULL REFERENCES auth_user (id),
        title varchar(200) NOT NULL, slug varchar(50) NOT NULL UNIQUE, status varchar(10) NOT NULL,
        published_at datetime NULL, views integer unsigned NOT NULL CHECK (views >= 0));
    CREATE TABLE blog_comment (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, post_id bigint NOT NULL REFERENCES blog_post (id),
        user_id integer NOT NULL REFERENCES auth_user (id), created datetime NOT NULL, body text NOT NULL,
        is_public bool NOT NULL);
    CREATE TABLE blog_tag (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name varchar(50) NOT NULL UNIQUE);
    CREATE TABLE blog_post_tags (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, post_id bigint NOT NULL, tag_id bigint NOT NULL,
        UNIQUE (post_id, tag_id));
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO auth_user SELECT i, 'user' || i, 'User' || i || '@example.com', i % 5 > 0, date('2020-01-01', i || ' days'),
        iif(i % 100 = 0, NULL, date('2024-01-01', (i % 365) || ' days')) FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO blog_post SELECT i, 1 + i * 37 % 2000, 'Title ' || i, 'title-' || i,
        iif(i % 10 < 6, 'published', iif(i % 10 < 9, 'draft', 'hidden')),
        date('2015-01-01', (i * 7919 % 4000) || ' days'), i * 104729 % 100003 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
    INSERT INTO blog_comment SELECT i, 1 + i * 7919 % 4000, 1 + i * 31 % 2000,
        datetime('2020-01-01', (i * 7907 % 30000) || ' hours'), 'A comment of some length, as people write them.', 1 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO blog_tag SELECT i, 'tag' || i FROM n;
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 7999)
    INSERT INTO blog_post_tags SELECT i + 1, 1 + i / 2, 1 + (i * 31 + i / 2) % 200 FROM n;";

pub(crate) const RAILS: &str = "
    CREATE TABLE users (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, email varchar NOT NULL, created_at datetime(6) NOT NULL);
    CREATE TABLE orders (
        id integer PRIMARY KEY AUTOINCREMENT NOT NULL, user_id integer NOT NULL, state varchar NOT NULL, total decimal(10,2),
        placed_at datetime(6) NOT NULL, deleted_at datetime(6));
    CREATE INDEX index_orders_on_user_id ON orders (user_id);
    CREATE INDEX index_orders_live ON orders (placed_at) WHERE deleted_at IS NULL;
    CREATE TABLE line_items (
        id integer PRIMARY KEY AUTOINCREMENT NOT NULL, order_id integer NOT NULL, product_id integer NOT NULL, quantity integer);
    CREATE TABLE products (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, sku varchar, name varchar, category varchar);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO users SELECT i, 'u' || i || '@example.com', datetime('2020-01-01', i || ' hours') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO orders SELECT i, 1 + i * 37 % 2000, substr('new  paid open sent done ', 1 + 5 * (i % 5), 4), i % 1000,
        datetime('2020-01-01', (i * 7919 % 20000) || ' hours'), iif(i % 50 = 0, '2024-01-01', NULL) FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
    INSERT INTO line_items SELECT i, 1 + i * 7919 % 20000, 1 + i * 31 % 2000, 1 + i / 7 % 10 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO products SELECT i, 'sku-' || i, 'Product ' || (i * 7919 % 2000), 'category ' || (i % 100) FROM n;";

pub(crate) const POCKETBASE: &str = "
    CREATE TABLE `users` (`id` TEXT PRIMARY KEY DEFAULT ('r'||lower(hex(randomblob(7)))) NOT NULL, `name` TEXT DEFAULT '' NOT NULL);
    CREATE TABLE `posts` (
        `id` TEXT PRIMARY KEY DEFAULT ('r'||lower(hex(randomblob(7)))) NOT NULL, `author` TEXT DEFAULT '' NOT NULL,
        `title` TEXT DEFAULT '' NOT NULL, `tags` JSON DEFAULT '[]' NOT NULL, `created` TEXT DEFAULT '' NOT NULL);
    CREATE TABLE `sessions` (`token` TEXT PRIMARY KEY, `user` TEXT NOT NULL, `expires` INTEGER NOT NULL) WITHOUT ROWID;
    CREATE VIEW `v_posts` AS SELECT p.id, p.title, u.name AS author_name FROM posts p JOIN users u ON u.id = p.author;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO users SELECT 'u' || i, 'Name ' || i FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO posts SELECT 'p' || i, 'u' || (1 + i * 37 % 500), 'Title ' || i, '{\"main\": \"t' || (i % 300) || '\"}',
        datetime('2020-01-01', (i * 7919 % 10000) || ' hours') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO sessions SELECT hex(i * 7919), 'u' || (1 + i * 31 % 500), 1700000000 + i * 7907 % 10000 FROM n;";
