//! Where backups lie: stores, packing, the catalogue and rotation, through what the jobs call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
// A skipped test says so.
#![allow(clippy::print_stderr)]

#[cfg(feature = "object-storage")]
#[path = "../support/azure.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod azure;
mod catalogue;
mod codec;
mod conformance;
#[cfg(feature = "object-storage")]
#[path = "../support/gateway.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod gateway;
mod local;
#[cfg(feature = "object-storage")]
mod object;
mod rotation;
mod scratch;
#[cfg(feature = "object-storage")]
#[path = "../support/s3.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod s3;

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

/// Says that a test did not run, which under CI is a failure.
fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "may not be skipped under CI: {why}");
    eprintln!("skipped: {why}");
}
