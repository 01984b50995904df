//! Names of objects below the address of the store. All numbers have a fixed width, so that names
//! sort as numbers do.

use crate::control::Image;

/// Folder of the control entries, which are never removed.
pub(crate) const CONTROL: &str = "control";
/// Folder of the log.
pub(crate) const LOG: &str = "log";
/// Folder of the pieces of snapshots.
pub(crate) const PIECES: &str = "pieces";
/// Folder of what [`prepare`](orrery_journal::Carrier::prepare) tries out; empty afterwards.
pub(crate) const PROBE: &str = "probe";

pub(crate) fn control(number: u64) -> String {
    format!("{CONTROL}/{number:020}")
}

pub(crate) fn slot(slot: u64) -> String {
    format!("{LOG}/{slot:020}")
}

/// The number that a name of either folder ends with; none for what is not ours.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.rsplit('/').next()?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

pub(crate) fn piece(image: &Image, index: u32) -> String {
    format!("{PIECES}/{:020}-{:016x}/{index:06}", image.at, image.attempt)
}

/// Position of the snapshot that a piece belongs to.
pub(crate) fn piece_position(name: &str) -> Option<u64> {
    let (position, _) = name.strip_prefix(PIECES)?.strip_prefix('/')?.split_once('-')?;
    if position.len() == 20 { position.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_are_read_back() {
        assert!(slot(9) < slot(10) && control(99) < control(100));
        assert_eq!(number(&slot(7)), Some(7));
        assert_eq!(number(&control(u64::MAX)), Some(u64::MAX));
        for foreign in ["log/7", "log/0000000000000000000x", "", "log/000000000000000000071"] {
            assert_eq!(number(foreign), None, "{foreign}");
        }
        let image = Image { at: 12, epoch: 1, bytes: 3, attempt: 0xab };
        assert_eq!(piece(&image, 3), "pieces/00000000000000000012-00000000000000ab/000003");
        assert_eq!(piece_position(&piece(&image, 3)), Some(12));
        assert_eq!(piece_position("pieces/12-ab/000003"), None);
    }
}
