//! A value with its expiry, how it is written to disk, and the bounds of ranges.

use std::ops::Bound;

use bytes::Bytes;

use crate::StoreError;

const FOREVER: u8 = 0;
const UNTIL: u8 = 1;

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The value.
    pub value: Bytes,
    /// Hidden from this time on, in microseconds since the Unix epoch.
    pub until_us: Option<i64>,
}

impl Row {
    pub(crate) fn is_live(&self, now_us: i64) -> bool {
        self.until_us.is_none_or(|until_us| now_us < until_us)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(9 + self.value.len());
        match self.until_us {
            None => encoded.push(FOREVER),
            Some(until_us) => {
                encoded.push(UNTIL);
                encoded.extend_from_slice(&until_us.to_be_bytes());
            }
        }
        encoded.extend_from_slice(&self.value);
        encoded
    }

    pub(crate) fn decode(encoded: &[u8]) -> Result<Self, StoreError> {
        match encoded.split_first() {
            Some((&FOREVER, value)) => {
                Ok(Self { value: Bytes::copy_from_slice(value), until_us: None })
            }
            Some((&UNTIL, rest)) => {
                let Some((until_us, value)) = rest.split_first_chunk() else {
                    return Err(StoreError::corrupt("a row is too short for its expiry"));
                };
                let until_us = Some(i64::from_be_bytes(*until_us));
                Ok(Self { value: Bytes::copy_from_slice(value), until_us })
            }
            Some((kind, _)) => Err(StoreError::corrupt(format!("a row has the kind {kind}"))),
            None => Err(StoreError::corrupt("a row is empty")),
        }
    }
}

/// Where a range of keys begins and ends.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The bounds of `[from, to)`, where an empty `to` is the end; `None` if nothing lies between.
pub(crate) fn bounds<'a>(from: &'a [u8], to: &'a [u8]) -> Option<Bounds<'a>> {
    if to.is_empty() {
        return Some((Bound::Included(from), Bound::Unbounded));
    }
    (from < to).then_some((Bound::Included(from), Bound::Excluded(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        for until_us in [None, Some(i64::MIN), Some(0), Some(77)] {
            for value in ["", "v"] {
                let row = Row { value: value.into(), until_us };
                assert_eq!(Row::decode(&row.encode()), Ok(row));
            }
        }
    }

    #[test]
    fn a_damaged_row_is_refused() {
        for damaged in [&[][..], &[9, 1], &[UNTIL, 0, 0]] {
            assert!(matches!(Row::decode(damaged), Err(StoreError::Corrupt { .. })));
        }
    }
}
