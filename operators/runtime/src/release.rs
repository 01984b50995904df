//! Which of two releases of the operator is older.
//!
//! Must not: guess. Versions that are not made of numbers are not compared, so that a build without
//! a release works like any other.

use std::cmp::Ordering;

/// Whether `ours` is older than `theirs`; false when either is no release.
pub fn is_older(ours: &str, theirs: &str) -> bool {
    let (Some(ours), Some(theirs)) = (parse(ours), parse(theirs)) else { return false };
    ours.0.cmp(&theirs.0).then_with(|| pre(ours.1, theirs.1)) == Ordering::Less
}

/// Numbers, and what comes before the release itself.
fn parse(version: &str) -> Option<([u64; 3], Option<&str>)> {
    let version = version.trim_start_matches('v').split('+').next()?;
    let (numbers, pre) = match version.split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (version, None),
    };
    let mut parsed = [0; 3];
    let mut words = numbers.split('.');
    for (number, word) in parsed.iter_mut().zip(&mut words) {
        *number = word.parse().ok()?;
    }
    words.next().is_none().then_some((parsed, pre))
}

/// As semantic versioning orders what comes before a release: word by word, numbers as numbers.
fn pre(ours: Option<&str>, theirs: Option<&str>) -> Ordering {
    let (ours, theirs) = match (ours, theirs) {
        (None, None) => return Ordering::Equal,
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (Some(ours), Some(theirs)) => (ours, theirs),
    };
    let word = |(left, right): (&str, &str)| match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    };
    let (left, right) = (ours.split('.'), theirs.split('.'));
    let counts = left.clone().count().cmp(&right.clone().count());
    left.zip(right).map(word).find(|order| order.is_ne()).unwrap_or(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_semantic_versions() {
        let order = [
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "2.0.0",
        ];
        for (n, older) in order.iter().enumerate() {
            for newer in &order[n + 1..] {
                assert!(is_older(older, newer), "{older} {newer}");
                assert!(!is_older(newer, older), "{newer} {older}");
            }
            assert!(!is_older(older, older), "{older}");
        }
        assert!(is_older("v1.0.0+build.9", "1.1"), "a mark and a build do not count");
    }

    #[test]
    fn what_is_no_release_is_not_compared() {
        for odd in ["", "test", "main", "1.x", "1.2.3.4", "sha256:aa"] {
            assert!(!is_older(odd, "1.0.0") && !is_older("1.0.0", odd), "{odd}");
        }
    }
}
