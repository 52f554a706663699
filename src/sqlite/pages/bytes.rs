//! Where a database's bytes are: in a file, in memory.

/// Where a database's bytes are.
pub trait Bytes {
    /// How many there are.
    fn length(&self) -> u64;

    /// Fills `into` from `offset` on; `false` where that cannot be read. Never asked beyond
    /// [`Bytes::length`].
    fn read(&self, offset: u64, into: &mut [u8]) -> bool;
}

impl Bytes for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let from =
            usize::try_from(offset).ok().and_then(|at| self.get(at..)).and_then(|b| b.get(..into.len()));
        from.map(|bytes| into.copy_from_slice(bytes)).is_some()
    }
}
