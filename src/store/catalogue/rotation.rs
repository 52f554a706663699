//! Which backups stay. Pure: takes what is there and the policy, gives a decision for each with its
//! reasons. Must never let the newest good backup go, nor the newest verified one, a pinned one, or
//! one in use (H26).
//!
//! Newer means made later: by the manifest's sequence, not by the clock, so that backups made after
//! the clock was set back are not taken for old ones. Only good backups count for `keep_*`. A
//! damaged one stays until a good one was made after it, as it may be all there is of its time; of
//! copies of a damaged database only the newest [`DAMAGED_COPIES`] do, or they would fill the disk
//! while nobody looks. A file without a manifest, or with one that is not readable, always stays:
//! it may be a good backup, brought back without it or hit by damage to the manifest alone.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, Datelike, Offset, Timelike, Utc};

use super::backup::{Backup, State};
use crate::config::Keep;
use crate::zone::Zone;

/// Copies of a damaged database that are kept beside all good backups.
pub const DAMAGED_COPIES: usize = 3;

/// A backup as far as rotation is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "facts, none of which says anything of another")]
pub struct Candidate {
    /// Its file.
    pub name: String,
    /// When it began.
    pub time: DateTime<Utc>,
    /// Its place in the order of making; `None` without a readable manifest.
    pub sequence: Option<u64>,
    /// Whether it can be restored, as far as is known.
    pub state: State,
    /// Whether its last verification found it good.
    pub verified: bool,
    /// Damaged because the database was.
    pub of_damaged_database: bool,
    /// Pinned by the operator.
    pub pinned: bool,
    /// Being restored or verified at this moment.
    pub in_use: bool,
}

impl Candidate {
    /// From the catalogue; see [`crate::store::Catalogue::in_use`].
    pub fn new(backup: &Backup, in_use: bool) -> Self {
        let manifest = backup.manifest.as_ref();
        Self {
            name: backup.name.clone(),
            time: backup.time,
            sequence: manifest.map(|m| m.sequence),
            state: backup.state.clone(),
            verified: manifest.and_then(|m| m.verification.as_ref()).is_some_and(|v| v.ok),
            of_damaged_database: backup.is_of_damaged_database(),
            pinned: manifest.is_some_and(|m| m.pinned),
            in_use,
        }
    }

    fn is_good(&self) -> bool {
        self.state == State::Good
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        match (self.sequence, other.sequence) {
            (Some(a), Some(b)) if a != b => a > b,
            _ => self.time > other.time,
        }
    }
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its file.
    pub name: String,
    /// Whether it stays.
    pub keep: bool,
    /// Why: at least one reason, every one that applies.
    pub reasons: Vec<Reason>,
}

/// Why a backup stays or goes. Shown as text: `last 3 of 10`, `hourly 2026-11-23 05h`,
/// `past keep_last = 10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The `rank`-newest of the `of` that `keep_last` keeps.
    Last {
        /// From 1, the newest.
        rank: u32,
        /// `keep_last`.
        of: u32,
    },
    /// The newest of a period: which kind, and which one.
    Newest(Period, String),
    /// The newest good one of all.
    NewestGood,
    /// The newest one that a verification found good.
    NewestVerified,
    /// Pinned by the operator.
    Pinned,
    /// Being restored or verified.
    InUse,
    /// Its manifest cannot be read now, so nothing is known about it.
    Unknown(String),
    /// It has not been read back yet: a run does that now, or the next one will.
    Unconfirmed,
    /// It has no manifest, so that nobody knows whose it is and what is in it.
    NoManifest,
    /// Its manifest is damaged, so that nobody knows whether the data is.
    Unreadable(String),
    /// Damaged, and no good one was made after it.
    NothingNewer(String),
    /// Goes: no `keep_*` holds it.
    Past(Keep),
    /// Goes: damaged, and a good one was made after it.
    Superseded(String),
    /// Goes, whatever speaks against removing others: a copy of a damaged database, of which there
    /// are enough newer ones.
    EnoughOfDamaged,
}

/// A kind of period, for `keep_hourly` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Hours of the wall clock.
    Hourly,
    /// Days.
    Daily,
    /// ISO weeks.
    Weekly,
    /// Months.
    Monthly,
    /// Years.
    Yearly,
}

impl Period {
    const ALL: [Self; 5] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    const fn kept(self, keep: &Keep) -> u32 {
        match self {
            Self::Hourly => keep.hourly,
            Self::Daily => keep.daily,
            Self::Weekly => keep.weekly,
            Self::Monthly => keep.monthly,
            Self::Yearly => keep.yearly,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The period that an instant lies in: the offset, which tells the two hours of one name in
    /// autumn apart, and its name.
    fn of(self, time: DateTime<Utc>, zone: Zone) -> (i32, String) {
        let local = time.with_timezone(&zone);
        let offset = if self == Self::Hourly { local.offset().fix().local_minus_utc() } else { 0 };
        let (year, month) = (local.year(), local.month());
        let name = match self {
            Self::Hourly => format!("{year:04}-{month:02}-{:02} {:02}h", local.day(), local.hour()),
            Self::Daily => format!("{year:04}-{month:02}-{:02}", local.day()),
            Self::Weekly => format!("{:04}-W{:02}", local.iso_week().year(), local.iso_week().week()),
            Self::Monthly => format!("{year:04}-{month:02}"),
            Self::Yearly => format!("{year:04}"),
        };
        (offset, name)
    }
}

/// Decides for each backup, in the order given. Hours, days and so on are those of `zone`.
pub fn plan(backups: &[Candidate], keep: &Keep, zone: Zone) -> Vec<Decision> {
    let mut good: Vec<usize> = (0..backups.len()).filter(|&i| backups[i].is_good()).collect();
    good.sort_by_key(|&i| Reverse((backups[i].sequence, backups[i].time, &backups[i].name)));

    let mut kept: Vec<Vec<Reason>> = vec![Vec::new(); backups.len()];
    for (rank, &i) in (1..=keep.last).zip(&good) {
        kept[i].push(Reason::Last { rank, of: keep.last });
    }
    for period in Period::ALL {
        let mut seen = HashSet::new();
        for &i in &good {
            if seen.len() >= period.kept(keep) as usize {
                break;
            }
            let this = period.of(backups[i].time, zone);
            if seen.insert(this.clone()) {
                kept[i].push(Reason::Newest(period, this.1));
            }
        }
    }
    if let Some(&newest) = good.first() {
        kept[newest].push(Reason::NewestGood);
    }
    if let Some(&verified) = good.iter().find(|&&i| backups[i].verified) {
        kept[verified].push(Reason::NewestVerified);
    }

    let mut damaged: Vec<&Candidate> = backups.iter().filter(|backup| backup.of_damaged_database).collect();
    damaged.sort_by_key(|backup| Reverse((backup.sequence, backup.time, &backup.name)));
    let beyond: HashSet<&str> = damaged.iter().skip(DAMAGED_COPIES).map(|b| b.name.as_str()).collect();
    let is_beyond = |backup: &Candidate| beyond.contains(backup.name.as_str());

    let decide = |(backup, mut reasons): (&Candidate, Vec<Reason>)| {
        if backup.pinned {
            reasons.push(Reason::Pinned);
        }
        if backup.in_use {
            reasons.push(Reason::InUse);
        }
        let superseded = || good.iter().any(|&i| backups[i].is_newer_than(backup));
        reasons.extend(match &backup.state {
            State::Good => None,
            State::Unknown(why) => Some(Reason::Unknown(why.clone())),
            State::Incomplete => Some(Reason::NoManifest),
            State::Unconfirmed => Some(Reason::Unconfirmed),
            State::Damaged(why) if backup.sequence.is_none() => Some(Reason::Unreadable(why.clone())),
            State::Damaged(_) if is_beyond(backup) => None,
            bad @ State::Damaged(_) => (!superseded()).then(|| Reason::NothingNewer(bad.to_string())),
        });
        let keeps = !reasons.is_empty();
        if !keeps && is_beyond(backup) {
            reasons.push(Reason::EnoughOfDamaged);
        } else if !keeps {
            let bad = backup.state.to_string();
            reasons.push(if backup.is_good() { Reason::Past(*keep) } else { Reason::Superseded(bad) });
        }
        Decision { name: backup.name.clone(), keep: keeps, reasons }
    };
    backups.iter().zip(kept).map(decide).collect()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last { rank, of } => write!(f, "last {rank} of {of}"),
            Self::Newest(period, name) => write!(f, "{} {name}", period.as_str()),
            Self::NewestGood => f.write_str("newest good"),
            Self::NewestVerified => f.write_str("newest verified"),
            Self::Pinned => f.write_str("pinned"),
            Self::InUse => f.write_str("in use"),
            Self::Unknown(why) => f.write_str(why),
            Self::Unconfirmed => f.write_str("it has not been read back yet"),
            Self::NoManifest => f.write_str("it has no manifest; remove it by hand if nobody needs it"),
            Self::Unreadable(why) => {
                write!(f, "{why}, and its data may be good; remove it by hand if nobody needs it")
            }
            Self::NothingNewer(what) => write!(f, "{what}, and no good one was made after it"),
            Self::Superseded(what) => write!(f, "{what}, and a good one was made after it"),
            Self::EnoughOfDamaged => {
                write!(f, "a copy of a damaged database, of which {DAMAGED_COPIES} newer ones are kept")
            }
            Self::Past(keep) => {
                let rules = Period::ALL.map(|p| (p.as_str(), p.kept(keep)));
                let set = std::iter::once(("last", keep.last)).chain(rules).filter(|(_, n)| *n > 0);
                let text: Vec<String> = set.map(|(name, n)| format!("keep_{name} = {n}")).collect();
                if text.is_empty() {
                    f.write_str("every keep_* is 0")
                } else {
                    write!(f, "past {}", text.join(", "))
                }
            }
        }
    }
}
