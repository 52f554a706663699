//! The reader of pages and the salvage out of the program's own source, and nothing else of it:
//! they need no more, and are built for the fuzzer within a minute.

#[path = "../../../src/descriptors.rs"]
pub mod descriptors;
#[path = "../../../src/error/mod.rs"]
pub mod error;
#[path = "../../../src/sql/mod.rs"]
pub mod sql;
pub mod sqlite;
#[path = "../../../src/terms/mod.rs"]
pub mod terms;

/// What libFuzzer gives, as the bytes of a file.
pub struct Held<'b>(pub &'b [u8]);

impl sqlite::pages::Bytes for Held<'_> {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.0.read(offset, into)
    }
}
