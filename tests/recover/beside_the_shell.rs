//! 500 damages, beside the `sqlite3` shell's `.recover`.
