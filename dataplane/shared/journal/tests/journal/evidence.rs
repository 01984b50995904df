//! What a folder itself proves to have been durable, by the tables of `docs/journal.md` alone: none of
//! the journal's own code is asked, so that it cannot agree with itself.

use orrery_journal::sim::SimDisk;

const SEGMENT_HEADER: usize = 4096;
const FRAME_HEADER: usize = 56;

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The watermark of the frame header at `bytes`, if it is an intact one of a segment with this salt.
fn watermark(bytes: &[u8], salt: &[u8]) -> Option<u64> {
    let position = u64_at(bytes, 16);
    if position == 0 || bytes[50..FRAME_HEADER] != [0; 6] {
        return None;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(salt), &bytes[4..FRAME_HEADER]);
    (bytes[..4] == crc.to_le_bytes()).then(|| u64_at(bytes, 24))
}

/// The highest position that the names of files or a frame header anywhere in the last segment say was
/// durable. A journal that ends before it has forgotten something and could have known.
pub(crate) fn proven(disk: &SimDisk) -> u64 {
    let files = disk.files();
    let newest = |prefix: &str| {
        let numbers = files.iter().filter_map(|(name, _)| name.strip_prefix(prefix));
        numbers.filter_map(|digits| digits.parse::<u64>().ok()).max()
    };
    let snapshot = newest("snapshot-").unwrap_or(0);
    let Some(first) = newest("segment-") else { return snapshot };
    let bytes = disk.content(&format!("segment-{first:020}")).unwrap();
    let mut proven = snapshot.max(first - 1);
    if bytes.len() > SEGMENT_HEADER {
        let (head, frames) = bytes.split_at(SEGMENT_HEADER);
        let places = (0..frames.len() / 8 * 8).step_by(8);
        let headers = places.filter_map(|at| frames.get(at..at + FRAME_HEADER));
        for header in headers {
            proven = proven.max(watermark(header, &head[32..40]).unwrap_or(0));
        }
    }
    proven
}
