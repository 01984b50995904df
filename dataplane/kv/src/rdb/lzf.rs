//! LZF decompression: how Redis packs long strings in RDB files. Format of `lzf_d.c`.

/// Unpacks `input` to exactly `len` bytes; `None` when it is damaged.
pub(super) fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    // LZF cannot shrink anything below 1/260 or so: a larger claim is damage, not data.
    if len / 300 > input.len() {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut at = 0;
    while at < input.len() {
        let control = usize::from(input[at]);
        at += 1;
        if control < 32 {
            let literal = input.get(at..at + control + 1)?;
            out.extend_from_slice(literal);
            at += control + 1;
        } else {
            let mut run = control >> 5;
            if run == 7 {
                run += usize::from(*input.get(at)?);
                at += 1;
            }
            let back = ((control & 0x1f) << 8) + usize::from(*input.get(at)?) + 1;
            at += 1;
            let from = out.len().checked_sub(back)?;
            for offset in 0..run + 2 {
                out.push(out[from + offset]);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_and_references_unpack() {
        assert_eq!(decompress(&[2, b'a', b'b', b'c'], 3), Some(b"abc".to_vec()));
        // One literal, then a run of 9 that overlaps itself: length 7 + 0 + 2, distance 1.
        assert_eq!(decompress(&[0, b'a', 0xe0, 0, 0], 10), Some(b"aaaaaaaaaa".to_vec()));
        assert_eq!(decompress(&[0x20, 0], 3), None);
        assert_eq!(decompress(&[2, b'a'], 3), None);
    }

    proptest! {
        #[test]
        fn damaged_input_never_panics(input: Vec<u8>, len in 0usize..5000) {
            if let Some(out) = decompress(&input, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
