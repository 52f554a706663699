"""The application beside, as many frameworks write it: each transaction is deferred, reads first, thinks for a while, and only
then writes (BEGIN; SELECT; INSERT; COMMIT). Where somebody else has the write lock then, or has committed since, SQLite
refuses it at once, whatever the timeout. Tells how long each took (turns.py); one that was refused counts as BUSY.

upgrader.py DATABASE --pause MS --long MS --journal wal|delete --synchronous off|normal|full [--autocheckpoint PAGES]
"""

import time

import turns


def main():
    parser = turns.arguments()
    parser.add_argument("--long", type=float, required=True)
    options, connection = turns.writing(parser)
    run = connection.execute

    def commit(number):
        begun = time.monotonic()
        user = 1 + number * 37 % 5000
        run("BEGIN")
        run("SELECT date, time_in FROM attendance WHERE user_id = ? ORDER BY date DESC LIMIT 10", (user,)).fetchall()
        time.sleep(max(0, begun + options.long / 1000 - time.monotonic()))
        run("INSERT INTO attendance VALUES (NULL, ?, '2026-11-23', '08:00:00', NULL, 0.9, 'main entrance', NULL)", (user,))
        run("COMMIT")

    turns.go_on(connection, options.pause, commit)


main()
