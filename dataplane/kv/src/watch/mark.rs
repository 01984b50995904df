//! Where a watcher is: how much of which record it has seen, and whose record that was.

use std::fmt;
use std::str::FromStr;

/// The place behind a change. Text: `epoch-position` when the whole record was seen,
/// `epoch-position-count` when so many of its changes were; `0` is the place before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: u64,
    pub(crate) position: u64,
    /// Changes of the record that were seen; none: all.
    pub(crate) seen: Option<u32>,
}

/// The text is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no place in the stream: use the id of an event, or 0 for everything there is")]
pub(crate) struct NoMark;

impl Mark {
    /// The whole record at `position`.
    pub(crate) fn behind(epoch: u64, position: u64) -> Self {
        Self { epoch, position, seen: None }
    }

    /// The record to read behind, and how many changes of the one after it are to be left out.
    pub(crate) fn begin(self) -> (u64, u32) {
        match self.seen {
            None => (self.position, 0),
            Some(seen) => (self.position.saturating_sub(1), seen),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)?;
        self.seen.map_or(Ok(()), |seen| write!(f, "-{seen}"))
    }
}

impl FromStr for Mark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        if text == "0" {
            return Ok(Self::behind(0, 0));
        }
        let number = |part: Option<&str>| {
            let digits = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            digits.ok_or(NoMark)?.parse::<u64>().map_err(|_| NoMark)
        };
        let mut parts = text.split('-');
        let (epoch, position) = (number(parts.next())?, number(parts.next())?);
        let seen = match parts.next() {
            None => None,
            part => Some(u32::try_from(number(part)?).map_err(|_| NoMark)?),
        };
        let is_whole = parts.next().is_none() && (position > 0 || seen.is_none());
        if is_whole { Ok(Self { epoch, position, seen }) } else { Err(NoMark) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for mark in [
            Mark::behind(3, 17),
            Mark { epoch: 1, position: u64::MAX, seen: Some(4) },
            Mark::behind(0, 0),
        ] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        assert_eq!("0".parse(), Ok(Mark::behind(0, 0)));
        assert_eq!(Mark { seen: Some(2), ..Mark::behind(1, 9) }.begin(), (8, 2));
        assert_eq!(Mark::behind(1, 9).begin(), (9, 0));
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for text in ["", "1", "-", "1-", "-1", "1-2-", "1-2-3-4", "+1-2", "1-x", "1-0-1", "1 -2"] {
            assert_eq!(text.parse::<Mark>(), Err(NoMark), "{text:?}");
        }
    }
}
