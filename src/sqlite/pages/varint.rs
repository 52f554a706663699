//! Integers of one to nine bytes, big-endian, seven bits in each but eight in the ninth
//! (<https://www.sqlite.org/fileformat2.html#varint>).

/// The integer at the start of `bytes` and how many bytes it has; `None` where they end before it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().take(8).enumerate() {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(8)?), 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_to_nine_bytes() {
        assert_eq!(varint(&[0x7f, 0xff]), Some((0x7f, 1)));
        assert_eq!(varint(&[0x81, 0x00]), Some((0x80, 2)));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, 9)));
        assert_eq!(varint(&[0x80; 9]), Some((0x80, 9)));
        for short in [&[][..], &[0x80], &[0xff; 8]] {
            assert_eq!(varint(short), None);
        }
    }
}
