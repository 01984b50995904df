//! Finding the end of a row of objects that has no holes.

use orrery_journal::carrier::CarrierError;

/// The last number in use, where `begin` is in use (or 0) and all numbers from there to the last one
/// are. Asks for about twice the logarithm of the distance: once, if nothing follows `begin`.
pub(crate) fn last_in_use(
    begin: u64,
    mut is_there: impl FnMut(u64) -> Result<bool, CarrierError>,
) -> Result<u64, CarrierError> {
    let mut there = begin;
    let mut leap = 1;
    let mut missing = loop {
        let next = begin.saturating_add(leap);
        if !is_there(next)? {
            break next;
        }
        there = next;
        leap = leap.saturating_mul(2);
    };
    while missing - there > 1 {
        let middle = there + (missing - there) / 2;
        if is_there(middle)? {
            there = middle;
        } else {
            missing = middle;
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_with_few_questions() {
        for begin in 0..20 {
            for end in begin..200 {
                let mut asked = 0;
                let found = last_in_use(begin, |number| {
                    asked += 1;
                    Ok(number <= end)
                });
                assert_eq!(found.expect("it is there"), end);
                let distance: u64 = end - begin;
                let most = if distance == 0 { 1 } else { 2 + 2 * u64::from(distance.ilog2()) };
                assert!(asked <= most, "{begin}..{end}: {asked}");
            }
        }
    }
}
