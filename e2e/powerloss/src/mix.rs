//! The content of one file after a loss of power, from what is durable and what was written since.

use crate::Random;

/// What a disk writes in whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;
/// What the page cache keeps, marks dirty and writes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Which of the sectors that differ reached the disk.
#[derive(Clone, Copy, Debug)]
enum Style {
    None,
    All,
    Sectors,
    Pages,
    /// The first ones.
    Prefix,
    /// The last ones: the disk wrote them in another order.
    Suffix,
}

const STYLES: [Style; 6] =
    [Style::None, Style::All, Style::Sectors, Style::Pages, Style::Prefix, Style::Suffix];

/// One of the contents that may be found. `is_lost` says of a page that a failed sync dropped it: it
/// never reaches the disk. The second value counts the sectors that did not.
pub(crate) fn mix(
    durable: &[u8],
    live: &[u8],
    is_lost: &dyn Fn(u64) -> bool,
    random: &mut Random,
) -> (Vec<u8>, u64) {
    let style = STYLES[random.below(STYLES.len() as u64) as usize];
    let mut found = durable.to_vec();
    found.resize(length(durable.len(), live.len(), random), 0);
    let differing: Vec<usize> = (0..live.len().div_ceil(SECTOR_BYTES))
        .filter(|sector| sector_of(durable, *sector) != sector_of(live, *sector))
        .collect();
    let turn = random.below(differing.len() as u64 + 1) as usize;
    let page_seed = random.number();
    let mut missing = 0;
    for (index, sector) in differing.iter().enumerate() {
        let page = (sector * SECTOR_BYTES / PAGE_BYTES) as u64;
        let is_written = match style {
            Style::None => false,
            Style::All => true,
            Style::Sectors => random.chance(500),
            Style::Pages => Random::new(page_seed ^ page).chance(500),
            Style::Prefix => index < turn,
            Style::Suffix => index >= turn,
        };
        if is_written && !is_lost(page) {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(live.len()).min(found.len());
            if from < to {
                found[from..to].copy_from_slice(&live[from..to]);
            }
        } else {
            missing += 1;
        }
    }
    (found, missing)
}

/// Either length, or one between them.
fn length(durable: usize, live: usize, random: &mut Random) -> usize {
    match random.below(3) {
        0 => durable,
        1 => live,
        _ => {
            let (low, high) = (durable.min(live), durable.max(live));
            let sectors = (high - low).div_ceil(SECTOR_BYTES) as u64;
            (low + random.below(sectors + 1) as usize * SECTOR_BYTES).min(high)
        }
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    let from = (sector * SECTOR_BYTES).min(bytes.len());
    &bytes[from..(from + SECTOR_BYTES).min(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sector_is_the_old_or_the_new_one_and_seeds_differ() {
        let (old, new) = (vec![1; 8192], vec![2; 8192]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let (found, missing) = mix(&old, &new, &|_| false, &mut Random::new(seed));
            let sectors = found.chunks(SECTOR_BYTES);
            assert!(sectors.clone().all(|s| s.iter().all(|b| *b == s[0]) && s[0] > 0));
            assert_eq!(missing as usize, sectors.filter(|s| s[0] == 1).count());
            seen.insert(found);
        }
        assert!(seen.contains(&old) && seen.contains(&new));
        assert!(seen.len() > 50, "{} of 200 are different", seen.len());
    }

    #[test]
    fn a_page_that_a_failed_sync_dropped_is_never_found() {
        let (old, new) = (vec![1; 8192], vec![2; 8192]);
        for seed in 0..200 {
            let (found, _) = mix(&old, &new, &|page| page == 1, &mut Random::new(seed));
            assert!(found[4096..].iter().all(|byte| *byte == 1));
        }
    }

    #[test]
    fn a_file_that_grew_has_zeros_where_nothing_was_written() {
        for seed in 0..200 {
            let (found, _) = mix(b"old", &[7; 4000], &|_| false, &mut Random::new(seed));
            assert!((3..=4000).contains(&found.len()));
            assert!(found[512.min(found.len())..].iter().all(|byte| [0, 7].contains(byte)));
        }
    }
}
