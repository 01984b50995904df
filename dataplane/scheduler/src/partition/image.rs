//! The content of a snapshot that is carried elsewhere: the state, and the newest part of the ledger, so
//! that who begins with an empty folder can still prove what was launched lately.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `ORRYSCHD` |
//! | 8 | length of the state |
//! | … | the state |
//! | 8 | offset of the ledger's first entry here |
//! | … | entries up to where the state knew the ledger's end |
//!
//! The state alone, which begins with the number of its version, is a snapshot as well: that of a journal
//! on a volume, beside its ledger.

use std::io::{self, Write};

use crate::ledger::LedgerView;

const MAGIC: [u8; 8] = *b"ORRYSCHD";
/// Bytes of ledger that go along at most: about as much as the journal between two snapshots.
pub(super) const LEDGER_BYTES_MAX: u64 = 16 << 20;

/// A snapshot taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image<'a> {
    /// None of nothing.
    pub(super) state: Option<&'a [u8]>,
    /// Where the entries begin, and the entries.
    pub(super) ledger: Option<(u64, &'a [u8])>,
}

/// Writes the pieces of a state, and with `ledger` its newest part.
pub(super) fn write(
    into: &mut impl Write,
    state: &[Vec<u8>],
    ledger: Option<&LedgerView>,
) -> io::Result<()> {
    let Some(view) = ledger else {
        return state.iter().try_for_each(|piece| into.write_all(piece));
    };
    let length: usize = state.iter().map(Vec::len).sum();
    into.write_all(&MAGIC)?;
    into.write_all(&(length as u64).to_le_bytes())?;
    state.iter().try_for_each(|piece| into.write_all(piece))?;
    let (start, entries) = view.tail(LEDGER_BYTES_MAX).map_err(io::Error::other)?;
    into.write_all(&start.to_le_bytes())?;
    into.write_all(&entries)
}

/// Takes a snapshot apart.
pub(super) fn open(bytes: &[u8]) -> Result<Image<'_>, &'static str> {
    let Some(rest) = bytes.strip_prefix(&MAGIC) else {
        let state = Some(bytes).filter(|bytes| !bytes.is_empty());
        return Ok(Image { state, ledger: None });
    };
    let cut = "the snapshot is cut short";
    let (length, rest) = number(rest).ok_or(cut)?;
    let length = usize::try_from(length).map_err(|_| cut)?;
    let (state, rest) = rest.split_at_checked(length).ok_or(cut)?;
    let (start, entries) = number(rest).ok_or(cut)?;
    Ok(Image { state: Some(state), ledger: Some((start, entries)) })
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::file::FIRST;

    #[test]
    fn both_forms_are_read_and_a_cut_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let view = Ledger::open(folder.path(), FIRST).unwrap().view();
        let mut bytes = vec![];
        write(&mut bytes, &[b"sta".to_vec(), b"te".to_vec()], Some(&view)).unwrap();
        let image = open(&bytes).unwrap();
        assert_eq!((image.state, image.ledger), (Some(&b"state"[..]), Some((FIRST, &b""[..]))));
        for end in MAGIC.len()..bytes.len() {
            assert!(open(&bytes[..end]).is_err(), "{end} bytes");
        }
        let alone = open(b"\x01state").unwrap();
        assert_eq!((alone.state, alone.ledger), (Some(&b"\x01state"[..]), None));
        assert_eq!(open(b"").unwrap().state, None);
    }
}
