//! Which positions were written under which epoch. Pure.
//!
//! Two journals agree up to a position when both have the same epoch there, because an epoch has one
//! writer and a writer never takes a position twice. So this list is all that has to be compared.

/// Changes of epoch that are remembered. What is older counts as epoch 0, and a follower that comes
/// back from there gets a full copy.
const CHANGES_MAX: usize = 4096;

/// First positions of epochs, ascending in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    starts: Vec<(u64, u64)>,
}

impl History {
    /// The record at `position` is the last one and has this epoch.
    #[inline]
    pub fn note(&mut self, position: u64, epoch: u64) {
        if self.starts.last().map_or(0, |(_, last)| *last) != epoch {
            self.starts.push((position, epoch));
            let over = self.starts.len().saturating_sub(CHANGES_MAX);
            self.starts.drain(..over);
        }
    }

    /// The epoch of the record at `position`; 0 if there is none or nobody knows.
    pub fn epoch_at(&self, position: u64) -> u64 {
        let behind = self.starts.partition_point(|(first, _)| *first <= position);
        behind.checked_sub(1).map_or(0, |at| self.starts[at].1)
    }

    /// Up to where a journal with the record (`position`, `epoch`) at its end can agree with this
    /// one.
    pub fn common(&self, position: u64, epoch: u64) -> u64 {
        let later = self.starts.iter().find(|(_, of)| *of > epoch);
        later.map_or(position, |(first, _)| position.min(first.saturating_sub(1)))
    }

    /// First position of the records of `epoch`.
    pub fn start_of(&self, epoch: u64) -> Option<u64> {
        self.starts.iter().find(|(_, of)| *of == epoch).map(|(first, _)| *first)
    }

    /// What it says of positions up to `last`.
    #[must_use]
    pub fn up_to(&self, last: u64) -> Self {
        let starts = self.starts.iter().filter(|(first, _)| *first <= last);
        Self { starts: starts.copied().collect() }
    }

    /// Up to where two journals have the same records: behind the last change of epoch they share,
    /// up to the next one of either. 0 when what they shared may have been forgotten.
    pub fn agrees_with(&self, other: &Self) -> u64 {
        let shared =
            self.starts.iter().rposition(|start| other.starts.binary_search(start).is_ok());
        let next = |starts: &[(u64, u64)]| {
            let common = shared.map_or(0, |at| self.starts[at].0);
            starts.iter().map(|(first, _)| *first).find(|first| *first > common)
        };
        let is_cut = self.starts.len().max(other.starts.len()) >= CHANGES_MAX;
        match (shared, next(&self.starts).into_iter().chain(next(&other.starts)).min()) {
            (None, _) if is_cut => 0,
            (_, next) => next.map_or(u64::MAX, |first| first - 1),
        }
    }

    pub fn to_text(&self) -> String {
        let starts = self.starts.iter().map(|(first, epoch)| format!("{first}:{epoch}"));
        starts.collect::<Vec<_>>().join(",")
    }

    pub fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let parse = |part: &str| {
            let (first, epoch) = part.split_once(':')?;
            Some((first.parse().ok()?, epoch.parse().ok()?))
        };
        let starts: Option<Vec<(u64, u64)>> = text.split(',').map(parse).collect();
        let ascends = |starts: &Vec<(u64, u64)>| {
            starts.len() <= CHANGES_MAX
                && starts.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
        };
        starts.filter(ascends).map(|starts| Self { starts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        for (position, epoch) in [(1, 0), (2, 0), (3, 2), (4, 2), (5, 2), (6, 5)] {
            history.note(position, epoch);
        }
        history
    }

    #[test]
    fn every_position_has_its_epoch() {
        let epochs: Vec<u64> = (0..8).map(|position| history().epoch_at(position)).collect();
        assert_eq!(epochs, [0, 0, 0, 2, 2, 2, 5, 5]);
    }

    #[test]
    fn a_journal_agrees_up_to_the_next_epoch_it_has_not_heard_of() {
        assert_eq!(history().common(9, 2), 5);
        assert_eq!(history().common(4, 2), 4);
        assert_eq!(history().common(9, 0), 2);
        assert_eq!(history().common(9, 7), 9);
    }

    #[test]
    fn two_journals_agree_up_to_the_first_change_that_one_alone_has() {
        let of = |text| History::from_text(text).expect("it is one");
        let agree = |one, other| {
            let found = of(one).agrees_with(&of(other));
            assert_eq!(found, of(other).agrees_with(&of(one)), "{one} and {other}");
            found
        };
        assert_eq!(agree("3:2,6:5", "3:2,9:7"), 5);
        assert_eq!(agree("3:2,6:5", "3:2"), 5);
        assert_eq!(agree("3:2,6:5", "3:2,6:5,9:7"), 8);
        assert_eq!(agree("3:2", "3:2"), u64::MAX);
        assert_eq!(agree("3:2", "4:3"), 2);
        assert_eq!(agree("1:2", "1:3"), 0);
        assert_eq!(agree("", "4:3"), 3);
        // Of one of them the beginning is forgotten.
        assert_eq!(agree("3:2,6:5,9:7", "9:7,12:8"), 11);
        let long: Vec<String> = (1..=CHANGES_MAX).map(|n| format!("{}:{n}", n * 2)).collect();
        assert_eq!(agree(&long.join(","), "1:1"), 0);
    }

    #[test]
    fn a_part_of_it_is_one_too() {
        assert_eq!(history().up_to(5).to_text(), "3:2");
        assert_eq!(history().up_to(2), History::default());
        assert_eq!(history().start_of(5), Some(6));
        assert_eq!(history().start_of(4), None);
    }

    #[test]
    fn text_is_read_back_and_nonsense_is_refused() {
        assert_eq!(history().to_text(), "3:2,6:5");
        assert_eq!(History::from_text("3:2,6:5"), Some(history()));
        assert_eq!(History::from_text(""), Some(History::default()));
        for nonsense in ["3", "3:x", "3:2,", "3:2,3:4", "3:2,6:1", "-1:2"] {
            assert_eq!(History::from_text(nonsense), None, "{nonsense}");
        }
    }
}
