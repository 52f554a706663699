"""The application's reader beside: looks up a user's newest rows, and now and then reads on in one transaction for a while.
Tells how long it waited for each look-up (turns.py).

reader.py DATABASE --pause MS --long MS --every TURNS
"""

import sqlite3
import time

import turns


def main():
    parser = turns.arguments()
    parser.add_argument("--long", type=float, required=True)
    parser.add_argument("--every", type=int, required=True)
    options = parser.parse_args()
    connection = sqlite3.connect(options.database, isolation_level=None)
    run = connection.execute

    def look_up(number):
        run(
            "SELECT date, time_in, note FROM attendance WHERE user_id = ? ORDER BY date DESC LIMIT 10",
            (1 + number * 37 % 5000,),
        ).fetchall()

    def read(number):
        begun = time.monotonic()
        run("BEGIN")
        look_up(number)
        waited = time.monotonic() - begun
        if number % options.every == options.every - 1:
            while time.monotonic() < begun + options.long / 1000:
                look_up(number)
                time.sleep(0.002)
        run("COMMIT")
        # What it reads on purpose for so long is no wait.
        return waited

    turns.go_on(connection, options.pause, read)


main()
