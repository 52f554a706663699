//! Where backups lie: stores, packing, the catalogue and rotation, through what the jobs call; and
//! every command on buckets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(feature = "object-storage")]
#[allow(unreachable_pub, reason = "nothing outside a test binary can reach it")]
#[path = "../support/buckets/mod.rs"]
mod buckets;
mod catalogue;
mod codec;
mod conformance;
mod cut_short;
mod fixture;
mod local;
mod manifests;
#[cfg(feature = "object-storage")]
mod object;
#[cfg(feature = "object-storage")]
mod offsite;
mod read_back;
mod rotation;
mod scratch;

#[path = "../support/mod.rs"]
mod support;

use std::io::Read;

/// Bytes that look random but are the same each time (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn read_all(mut reader: Box<dyn Read + Send>) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}
