"""The application beside: commits small transactions, with a pause after each, and tells how long each took (turns.py).

writer.py DATABASE --pause MS --journal wal|delete --synchronous off|normal|full [--autocheckpoint PAGES]
"""

import turns


def main():
    options, connection = turns.writing(turns.arguments())
    run = connection.execute

    def commit(number):
        run("BEGIN IMMEDIATE")
        run(
            "INSERT INTO attendance VALUES (NULL, ?, '2026-11-23', '08:00:00', NULL, 0.9, 'main entrance', NULL)",
            (1 + number * 37 % 5000,),
        )
        run("UPDATE users SET created_at = '2026-11-23T08:00:00Z' WHERE id = ?", (1 + number * 41 % 5000,))
        run("COMMIT")

    turns.go_on(connection, options.pause, commit)


main()
