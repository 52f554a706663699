//! Packing: read back by us and by the real gunzip.

use super::{noise, read_all};
use litekeeper::config::Compression;
use litekeeper::error::Reason;
use litekeeper::store::codec::{Compressor, Encoding, read_error, reader};
use litekeeper::store::hash::Hashing;
use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};

const BLOCK: usize = 1 << 20;

fn gzip(level: u32, threads: usize) -> Encoding {
    Encoding { compression: Compression::Gzip, level, threads }
}

fn pack(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut compressor = Compressor::new(&mut packed, encoding).unwrap();
    // Pieces that fall on no block's edge.
    for piece in bytes.chunks(4096 * 3 + 1) {
        compressor.write_all(piece).unwrap();
    }
    compressor.finish().unwrap();
    packed
}

fn unpack(packed: Vec<u8>) -> Vec<u8> {
    read_all(reader(Box::new(Cursor::new(packed)), "x.sqlite.gz"))
}

fn gunzip(packed: Vec<u8>) -> Vec<u8> {
    let mut child = Command::new("gunzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&packed).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Text that a database might hold: compressible, each megabyte different.
fn rows(length: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0.. {
        write!(text, "{n}|user {}|2026-11-{:02}T{:02}:00|present;", n * 7919 % 1000, n % 28 + 1, n % 24)
            .unwrap();
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

#[test]
fn any_gunzip_reads_what_several_threads_packed() {
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 12345] {
        let raw = rows(length);
        for threads in [1, 3] {
            let packed = pack(&raw, gzip(6, threads));
            assert!(unpack(packed.clone()) == raw, "{length} bytes, {threads} threads");
            assert!(gunzip(packed) == raw, "{length} bytes, {threads} threads");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_the_file() {
    let raw = rows(5 * BLOCK);
    assert!(pack(&raw, gzip(6, 1)) == pack(&raw, gzip(6, 4)));
}

#[test]
fn every_level_packs_and_the_last_packs_smaller_than_the_first() {
    let raw = rows(BLOCK + BLOCK / 2);
    let sizes: Vec<usize> = (1..=9)
        .map(|level| {
            let packed = pack(&raw, gzip(level, 2));
            let size = packed.len();
            assert!(unpack(packed) == raw, "level {level}");
            size
        })
        .collect();
    assert!(sizes[8] < sizes[0] && sizes[0] < raw.len() / 2, "{sizes:?}");
}

#[test]
fn stores_what_does_not_get_smaller_nearly_as_it_is() {
    let raw = noise(3 * BLOCK);
    let packed = pack(&raw, gzip(9, 2));
    assert!(packed.len() > raw.len() && packed.len() < raw.len() + raw.len() / 1000, "{}", packed.len());
    // RFC 1952, XFL: the fastest way was taken (4), not the slowest (2) that was asked for.
    assert_eq!(packed[8], 4);
    assert_eq!(pack(&rows(BLOCK), gzip(9, 2))[8], 2);
    assert!(gunzip(packed) == raw);
    // A block that is half of each is still compressed.
    let mixed = [noise(BLOCK / 2), rows(BLOCK / 2)].concat();
    assert!(pack(&mixed, gzip(6, 1)).len() < BLOCK * 3 / 4);
}

#[test]
fn without_compression_the_bytes_are_the_bytes() {
    let raw = rows(BLOCK);
    let packed = pack(&raw, Encoding { compression: Compression::None, level: 6, threads: 4 });
    assert!(packed == raw);
    assert!(read_all(reader(Box::new(Cursor::new(packed)), "x.sqlite")) == raw);
}

#[test]
fn an_error_of_the_disk_comes_through_and_leaves_no_thread() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut compressor = Compressor::new(Full, gzip(1, 2)).unwrap();
    let error = (0..20).find_map(|_| compressor.write_all(&rows(BLOCK)).err());
    assert_eq!(error.unwrap().kind(), io::ErrorKind::StorageFull);
    // Returns only once its threads have ended; with blocks still under way it must not hang.
    drop(compressor);
    let mut compressor = Compressor::new(Full, gzip(1, 2)).unwrap();
    compressor.write_all(b"little").unwrap();
    assert_eq!(compressor.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    let mut compressor = Compressor::new(Vec::new(), gzip(9, 4)).unwrap();
    compressor.write_all(&rows(6 * BLOCK)).unwrap();
    drop(compressor);
}

#[test]
fn a_cut_or_altered_file_is_damaged() {
    let packed = pack(&rows(3 * BLOCK), gzip(6, 2));
    let mut altered = packed.clone();
    altered[packed.len() / 2] ^= 0x55;
    for bad in [packed[..packed.len() - 5].to_vec(), packed[..7].to_vec(), altered] {
        let mut unpacked = Vec::new();
        let error = reader(Box::new(Cursor::new(bad)), "x.gz").read_to_end(&mut unpacked).unwrap_err();
        assert_eq!(read_error("cannot read x.gz", &error).reason, Reason::Damaged, "{error}");
    }
}

#[test]
fn hashes_what_goes_by_in_both_directions() {
    // FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut writer = Hashing::new(Vec::new());
    writer.write_all(b"a").unwrap();
    writer.write_all(b"bc").unwrap();
    assert_eq!((writer.sum().bytes, writer.sum().sha256.as_str()), (3, expected));
    let mut reader = Hashing::new(&b"abc"[..]);
    io::copy(&mut reader, &mut io::sink()).unwrap();
    assert_eq!((reader.sum().bytes, reader.sum().sha256.as_str()), (3, expected));
}
