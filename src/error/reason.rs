//! The one table of reasons: the word of each, whether trying again can help, what it means and
//! what to do. Nothing here judges an error: where one is made, its reason is chosen.

use std::fmt;

/// Whether trying again can help. Decides who retries: `pool` retries [`Class::Transient`] opens,
/// the job runner retries [`Class::Transient`] runs, nobody retries the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May go away by itself: a lock held by the application, a full pool.
    Transient,
    /// Stays until somebody acts.
    Permanent,
    /// We were told to stop.
    Cancelled,
}

macro_rules! table {
    ($($id:ident = $word:literal, $class:ident, $meaning:literal, $remedy:literal;)*) => {
        /// Why something failed, as one word for the run history and for the label `reason`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $(#[doc = $meaning] $id,)*
        }

        impl Reason {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$id),*];

            /// The word used in labels, in the run history and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$id => $word,)*
                }
            }

            /// Whether trying again can help.
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$id => Class::$class,)*
                }
            }

            /// What it means, for the documents.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$id => $meaning,)*
                }
            }

            /// What the operator can do, for the documents; the text of each error says it of the
            /// case at hand.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$id => $remedy,)*
                }
            }
        }
    };
}

table! {
    Busy = "busy", Transient,
        "the application held the lock for longer than `pool.busy_timeout`; tried again twice",
        "choose a quieter time, or raise `pool.busy_timeout`";
    // HAZARDS H21.
    Held = "held", Transient,
        "not even a reader got in for that long: `locking_mode = EXCLUSIVE`, or a transaction without end; the text names the process",
        "let the application use `locking_mode = NORMAL`; litekeeper cannot share the file with it otherwise";
    Locked = "locked", Permanent,
        "another run of litekeeper is at work on the database, or somebody has it open that is to be replaced",
        "wait for it (`litekeeper status`), or stop what is named";
    PoolTimeout = "pool_timeout", Transient,
        "no connection was free within `pool.timeout`",
        "raise `pool.size` or `pool.max_overflow`, or lower `daemon.parallel_jobs`";
    Deadline = "deadline", Permanent,
        "the run or one statement took longer than it may and was undone",
        "raise the limit that the text names, or choose a quieter time";
    Cancelled = "cancelled", Cancelled,
        "stopped by a shutdown, a reload or an operator",
        "nothing: it runs again at the next start or in its turn";
    Blackout = "blackout", Cancelled,
        "the run stopped between two steps, because a blackout began",
        "nothing: it goes on when the window ends";
    // HAZARDS H35.
    NoPause = "no_pause", Cancelled,
        "given up for now: the application left no pause in which a commit would not make one of its transactions fail",
        "nothing for once; if it stays so, choose a quieter hour, raise `pool.pause_timeout`, or set it to `\"0s\"`, which lets some of them fail";
    NotFound = "not_found", Permanent,
        "a backup, table, column or index does not exist",
        "correct the name";
    Vanished = "vanished", Permanent,
        "the path of the database leads to no file; none is created",
        "correct `path`, mount the disk, or restore a backup";
    Replaced = "replaced", Permanent,
        "another file was put in place of the database during the run, which was stopped",
        "restart what still has the old file open; move databases only while nobody uses them";
    // HAZARDS H31.
    SecondName = "second_name", Permanent,
        "a hard link or a mount of the single file: SQLite looks for the `-wal` by the name, so there are two logs, and the file would be destroyed",
        "mount the directory; remove the other links";
    NotADatabase = "not_a_database", Permanent,
        "the file is something else: a text, a `-wal`, a packed backup, a directory",
        "correct `path`, or restore a backup";
    Encrypted = "encrypted", Permanent,
        "the first page has no structure, as SQLCipher and SEE leave it",
        "take it out of the configuration: litekeeper has no key";
    NewerFormat = "newer_format", Permanent,
        "the file's format is newer than the SQLite in litekeeper",
        "install a newer litekeeper";
    Damaged = "damaged", Permanent,
        "SQLite reports damage, or the header is gone; exit code 12; rotation stops and nothing is written",
        "restore a backup, or salvage what can be read";
    Permission = "permission", Permanent,
        "owner, group or mode keep litekeeper out",
        "run it as the database's owner, or give its group the right";
    // HAZARDS H3, H32.
    WrongOwner = "wrong_owner", Permanent,
        "opened by litekeeper's user, the database would get files that its application cannot write, or has them",
        "share a group, or run it as the database's owner; the text has the commands";
    ReadOnly = "read_only", Permanent,
        "the filesystem is read-only here: jobs that write are skipped; a database in WAL mode is read there only with its `-wal` and `-shm`",
        "nothing, where it should not be written; else mount it writable, or name it in `ReadWritePaths=`";
    NoSpace = "no_space", Permanent,
        "a filesystem is full or would be",
        "free space on the one that is named";
    NoDescriptors = "no_descriptors", Transient,
        "the process has as many files open as it may, or the system has; tried again twice",
        "raise `LimitNOFILE=` in the unit, or `ulimit -n`; `litekeeper check` says how many are needed";
    Shrunken = "shrunken", Permanent,
        "the database is empty or much smaller than it was",
        "find out why; then `litekeeper backup DB --accept-smaller`, or restore";
    Refused = "refused", Permanent,
        "a guard of litekeeper stopped it: too large a share, triggers, child rows, a replicator",
        "what the text says, if that is what you want";
    Unsupported = "unsupported", Permanent,
        "the schema needs a function, collation or module that only the application has, or has something else that only the application reads: a name that is not UTF-8, a trigger on a shadow table, a view of an attached schema",
        "nothing: the rest is done without it, what is left out is named, and the run is a success";
    Config = "config", Permanent,
        "the configuration is not valid",
        "correct the line that is shown (`litekeeper check`)";
    Io = "io", Permanent,
        "the operating system failed to read or write",
        "the kernel's log (`dmesg`); a disk that fails needs a new one";
    Sqlite = "sqlite", Permanent,
        "any other error of SQLite, and rows that break a constraint",
        "what the text says";
    Panic = "panic", Permanent,
        "a defect in litekeeper; the log has the place",
        "report it";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
