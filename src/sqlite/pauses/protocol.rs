//! What the side that asks and the process that looks say to each other: a line each way.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A process by its number; 0 stands for all those that cannot be told apart (of another
/// container).
pub(super) type Process = i32;

/// The byte on which somebody keeps a state to read from, and who.
pub(super) type Reader = (u64, Process);

/// Whose locks: each is in a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Those of a write-ahead log, in the `-shm`.
    Log,
    /// Those of a database in another journal mode, in its own file.
    File,
}

impl Locks {
    /// The word for the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::File => "file",
        }
    }
}

impl FromStr for Locks {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Log, Self::File]
            .into_iter()
            .find(|locks| locks.as_str() == word)
            .ok_or_else(|| word.to_owned())
    }
}

/// A line to the watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// Wait for a moment, `most` at most, that will last for `least`.
    Wait { most: Duration, least: Duration },
    /// Is none of these, each with the byte of its lock, one whom a commit would make fail?
    IsFree(Vec<Reader>),
    /// We have let go of the lock.
    Over,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait { most, least } => write!(f, "wait {} {}", most.as_micros(), micros(*least)),
            Self::IsFree(readers) => {
                f.write_str("free?")?;
                readers.iter().try_for_each(|(byte, process)| write!(f, " {byte}:{process}"))
            }
            Self::Over => write!(f, "over"),
        }
    }
}

impl Question {
    pub(super) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let micros = |word: &str| word.parse().ok().map(Duration::from_micros);
        match words.as_slice() {
            ["wait", most, least] => Some(Self::Wait { most: micros(most)?, least: micros(least)? }),
            ["free?", readers @ ..] => {
                let reader = |word: &&str| {
                    let (byte, process) = word.split_once(':')?;
                    Some((byte.parse().ok()?, process.parse().ok()?))
                };
                readers.iter().map(reader).collect::<Option<_>>().map(Self::IsFree)
            }
            ["over"] => Some(Self::Over),
            _ => None,
        }
    }
}

/// A line from the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Ready,
    Pause(Duration),
    Quiet,
    None(Duration),
    Free,
    Taken,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => write!(f, "ready"),
            Self::Pause(lasts) => write!(f, "pause {}", micros(*lasts)),
            Self::Quiet => write!(f, "quiet"),
            Self::None(longest) => write!(f, "none {}", micros(*longest)),
            Self::Free => write!(f, "free"),
            Self::Taken => write!(f, "taken"),
        }
    }
}

impl Answer {
    pub(super) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let micros = |word: &str| word.parse().ok().map(Duration::from_micros);
        match words.as_slice() {
            ["ready"] => Some(Self::Ready),
            ["pause", lasts] => Some(Self::Pause(micros(lasts)?)),
            ["quiet"] => Some(Self::Quiet),
            ["none", longest] => Some(Self::None(micros(longest)?)),
            ["free"] => Some(Self::Free),
            ["taken"] => Some(Self::Taken),
            _ => None,
        }
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_speak_the_same_language() {
        let most = Duration::from_millis(250);
        for question in [
            Question::Wait { most, least: Duration::from_micros(1) },
            Question::IsFree(Vec::new()),
            Question::IsFree(vec![(123, 7), (127, 0)]),
            Question::Over,
        ] {
            assert_eq!(Question::read(&question.to_string()), Some(question));
        }
        for answer in [
            Answer::Ready,
            Answer::Pause(most),
            Answer::Quiet,
            Answer::None(Duration::ZERO),
            Answer::Free,
            Answer::Taken,
        ] {
            assert_eq!(Answer::read(&answer.to_string()), Some(answer));
        }
        assert_eq!(Question::read("free? 1"), None);
        assert_eq!(Answer::read("test result: ok"), None);
    }
}
