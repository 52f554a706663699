//! Numbers that look random and are the same each time, so that a case that fails can be run again
//! by its number.

/// The `nth` number of case `case` (splitmix64).
pub fn number(case: u64, nth: u64) -> u64 {
    let mut mixed = case.wrapping_mul(1 << 20).wrapping_add(nth + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The same, below `bound`.
pub fn below(case: u64, nth: u64, bound: usize) -> usize {
    usize::try_from(number(case, nth) % bound as u64).unwrap()
}

/// The numbers of `count` cases from `first` on; with `LITEKEEPER_CASE=N` in the environment only
/// that one, if it is among them.
pub fn cases(first: u64, count: u64) -> Vec<u64> {
    let only = std::env::var("LITEKEEPER_CASE").ok().map(|case| case.parse::<u64>().unwrap());
    (first..first + count).filter(|case| only.is_none_or(|only| only == *case)).collect()
}
