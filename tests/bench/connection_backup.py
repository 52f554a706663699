"""The recipe that most guides to SQLite in Python give: Connection.backup to a file, then gzip.

connection_backup.py DATABASE RESULT.gz
"""

import gzip
import os
import shutil
import sqlite3
import sys

database, result = sys.argv[1:]
copy = result.removesuffix(".gz")

source = sqlite3.connect(database)
target = sqlite3.connect(copy)
source.backup(target)
target.close()
source.close()

with open(copy, "rb") as plain, gzip.open(result, "wb") as packed:  # level 9 is Python's default
    shutil.copyfileobj(plain, packed)
os.remove(copy)
