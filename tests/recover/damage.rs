//! Damage from a seed.

use super::random::Random;

/// What was done, for messages.
#[derive(Debug, Clone)]
pub struct Damage {
    pub words: String,
    pub bytes: Vec<u8>,
}

/// Damages a database of this page size, differently for each seed.
///
/// Pages change places only with pages that are in use: what lies on a free page is right for its
/// table in every respect, and nothing in the file tells that it was deleted.
pub fn damage(sound: &[u8], page: usize, free: &[u32], seed: u64) -> Damage {
    let mut random = Random::new(seed);
    let mut bytes = sound.to_vec();
    let pages = bytes.len() / page;
    let used: Vec<usize> = (1..pages).filter(|at| !free.contains(&u32::try_from(at + 1).unwrap())).collect();
    let words = match seed % 10 {
        0 | 1 => {
            let flips = 1 + random.below(16);
            for _ in 0..flips {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            format!("{flips} bits flipped")
        }
        2 => {
            let count = 1 + random.below(4);
            let zeroed: Vec<usize> = (0..count).map(|_| random.below(pages)).collect();
            for at in &zeroed {
                bytes[at * page..(at + 1) * page].fill(0);
            }
            format!("pages {zeroed:?} (from 0) zeroed")
        }
        3 => {
            let (one, other) = (used[random.below(used.len())], used[random.below(used.len())]);
            for at in 0..page {
                bytes.swap(one * page + at, other * page + at);
            }
            format!("pages {one} and {other} (from 0) swapped")
        }
        4 => {
            let rest = page + random.below(bytes.len() - page);
            let rest = if random.below(2) == 0 { rest / page * page } else { rest };
            bytes.truncate(rest);
            format!("cut to {rest} bytes")
        }
        5 => {
            let chained = overflow_pages(sound, page);
            let count = chained.len().min(3);
            for _ in 0..count {
                let (one, other) =
                    (chained[random.below(chained.len())], chained[random.below(chained.len())]);
                let to = u32::try_from(other + 1).unwrap().to_be_bytes();
                bytes[one * page..one * page + 4].copy_from_slice(&to);
            }
            if count == 0 {
                let at = random.below(pages);
                bytes[at * page] ^= 8;
            }
            format!("{count} overflow pages lead to others")
        }
        6 => {
            match random.below(4) {
                0 => bytes[..100].fill(0),
                1 => bytes[..16].fill(b'x'),
                2 => {
                    for byte in &mut bytes[..100] {
                        *byte = random.next().to_le_bytes()[0];
                    }
                }
                _ => {
                    let at = 16 + random.below(84);
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            String::from("the header broken")
        }
        7 => {
            // Where a flip does most: headers of pages and pointers to cells.
            let flips = 1 + random.below(8);
            for _ in 0..flips {
                let at = random.below(pages);
                let start = at * page + if at == 0 { 100 } else { 0 };
                bytes[start + random.below(24)] ^= 1 << random.below(8);
            }
            format!("{flips} bits of page headers flipped")
        }
        8 => {
            let at = random.below(pages);
            for byte in &mut bytes[at * page..(at + 1) * page] {
                *byte = random.next().to_le_bytes()[0];
            }
            format!("page {at} (from 0) overwritten with noise")
        }
        _ => {
            let (from, to) = (used[random.below(used.len())], used[random.below(used.len())]);
            bytes.copy_within(from * page..(from + 1) * page, to * page);
            format!("page {from} written over page {to} (from 0)")
        }
    };
    Damage { words, bytes }
}

/// Pages that begin like an overflow page: the number of another page, or none, where trees have
/// their kind.
fn overflow_pages(bytes: &[u8], page: usize) -> Vec<usize> {
    let pages = bytes.len() / page;
    (1..pages)
        .filter(|at| {
            let next = u32::from_be_bytes(bytes[at * page..at * page + 4].try_into().unwrap()) as usize;
            bytes[at * page] == 0 && next > 1 && next <= pages
        })
        .collect()
}
