//! The packed encodings inside RDB strings: listpack and intset.

/// Elements of a listpack as byte strings; `None` when it is damaged.
pub(super) fn listpack(pack: &[u8]) -> Option<Vec<Vec<u8>>> {
    let total = u32::from_le_bytes(pack.get(..4)?.try_into().ok()?) as usize;
    if total != pack.len() {
        return None;
    }
    let (mut at, mut elements) = (6, vec![]);
    loop {
        if *pack.get(at)? == 0xff {
            return (at + 1 == total).then_some(elements);
        }
        let (element, taken) = entry(&pack[at..])?;
        elements.push(element);
        at += taken + back_length_bytes(taken);
    }
}

/// One entry: its value, and the bytes of encoding and data.
fn entry(at: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = at[0];
    let byte = |index: usize| at.get(index).map(|b| usize::from(*b));
    let integer = |value: i64, taken| Some((value.to_string().into_bytes(), taken));
    let string = |from: usize, len: usize| Some((at.get(from..from + len)?.to_vec(), from + len));
    match first {
        0..=0x7f => integer(i64::from(first), 1),
        0x80..=0xbf => string(1, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let raw = (i64::from(first & 0x1f) << 8) | byte(1)? as i64;
            integer(if raw >= 1 << 12 { raw - (1 << 13) } else { raw }, 2)
        }
        0xe0..=0xef => string(2, (usize::from(first & 0x0f) << 8) | byte(1)?),
        0xf0 => string(5, u32::from_le_bytes(at.get(1..5)?.try_into().ok()?) as usize),
        0xf1 => integer(signed(at.get(1..3)?), 3),
        0xf2 => integer(signed(at.get(1..4)?), 4),
        0xf3 => integer(signed(at.get(1..5)?), 5),
        0xf4 => integer(signed(at.get(1..9)?), 9),
        _ => None,
    }
}

/// Bytes of the length that stands behind an entry of `entry_bytes`.
fn back_length_bytes(entry_bytes: usize) -> usize {
    match entry_bytes {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Members of an intset as decimal strings; `None` when it is damaged.
pub(super) fn intset(set: &[u8]) -> Option<Vec<Vec<u8>>> {
    let width = u32::from_le_bytes(set.get(..4)?.try_into().ok()?) as usize;
    let count = u32::from_le_bytes(set.get(4..8)?.try_into().ok()?) as usize;
    let members = &set[8..];
    if !matches!(width, 2 | 4 | 8) || members.len() != width.checked_mul(count)? {
        return None;
    }
    Some(members.chunks(width).map(|m| signed(m).to_string().into_bytes()).collect())
}

/// A little-endian two's complement number of 2 to 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_intset_of_every_width_is_read() {
        let set = |width: u32, members: &[&[u8]]| {
            let count = members.len() as u32;
            [&width.to_le_bytes()[..], &count.to_le_bytes(), &members.concat()].concat()
        };
        let two = set(2, &[&(-5i16).to_le_bytes(), &300i16.to_le_bytes()]);
        assert_eq!(intset(&two), Some(vec![b"-5".to_vec(), b"300".to_vec()]));
        let eight = set(8, &[&i64::MIN.to_le_bytes()]);
        assert_eq!(intset(&eight), Some(vec![b"-9223372036854775808".to_vec()]));
        assert_eq!(intset(&set(3, &[])), None);
    }

    proptest! {
        #[test]
        fn damaged_packs_never_panic(body: Vec<u8>) {
            let mut pack = ((body.len() + 6) as u32).to_le_bytes().to_vec();
            pack.extend_from_slice(&[0, 0]);
            pack.extend_from_slice(&body);
            let _ = listpack(&pack);
            let _ = intset(&body);
        }
    }
}
