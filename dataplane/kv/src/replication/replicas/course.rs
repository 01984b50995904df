//! How the stream of a replica lies over the journal: which of its bytes stand for which records, so
//! that they can be made again from there. Nothing that was sent has to be kept for that.
//!
//! Pure: does not read the journal, and knows nothing of sockets.

use std::collections::VecDeque;

/// Bytes of the stream that can be made again although the replica has said that it executed them: one
/// that starts again has what its last image had. As much as the backlog of Redis.
const BACK_BYTES: u64 = 1 << 20;
/// Marks closer together than this are one, where nothing but records lies between them.
const GRAIN_BYTES: u64 = 16 << 10;
/// The most marks of a stream; above it, the oldest go.
const MARKS_MAX: usize = 4096;

/// What the bytes before a mark were made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MadeOf {
    /// The records up to the position of the mark.
    Records,
    /// One `PING`.
    Ping,
    /// One `REPLCONF GETACK *`.
    Question,
}

/// A place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes of the stream before it.
    pub(super) bytes: u64,
    /// They have the effects of all records up to here.
    pub(super) position: u64,
    /// The database that is selected here.
    pub(super) db: Option<u16>,
    pub(super) made_of: MadeOf,
}

/// The marks of one stream. There is always one at its end.
#[derive(Debug)]
pub(super) struct Course {
    marks: VecDeque<Mark>,
    end: Mark,
}

impl Course {
    /// A stream that begins behind the record at `position`.
    pub(super) fn begin(position: u64) -> Self {
        let end = Mark { bytes: 0, position, db: None, made_of: MadeOf::Records };
        Self { marks: VecDeque::from([end]), end }
    }

    pub(super) fn end(&self) -> Mark {
        self.end
    }

    /// What is behind this position has to stay in the journal.
    pub(super) fn needs(&self) -> u64 {
        self.marks.front().map_or(self.end.position, |mark| mark.position)
    }

    /// The stream goes on with `count` bytes.
    pub(super) fn note(&mut self, count: u64, position: u64, db: Option<u16>, made_of: MadeOf) {
        self.end.position = position;
        if count == 0 {
            // What was made of the last records was nothing: they belong to what was before.
            if let Some(last) = self.marks.back_mut() {
                last.position = position;
            }
            return;
        }
        let is_record = |mark: Option<&Mark>| mark.is_some_and(|m| m.made_of == MadeOf::Records);
        let before = self.marks.len().checked_sub(2).and_then(|at| self.marks.get(at));
        let bytes = self.end.bytes + count;
        let is_near = before.is_some_and(|before| bytes - before.bytes < GRAIN_BYTES);
        if made_of == MadeOf::Records && is_record(self.marks.back()) && is_near {
            self.marks.pop_back();
        } else if self.marks.len() >= MARKS_MAX {
            self.marks.pop_front();
        }
        self.end = Mark { bytes, position, db, made_of };
        self.marks.push_back(self.end);
    }

    /// The replica has executed `bytes` of the stream: the position it has reached at least, if that is
    /// still known.
    pub(super) fn executed(&mut self, bytes: u64) -> Option<u64> {
        while self.marks.get(1).is_some_and(|next| next.bytes + BACK_BYTES <= bytes) {
            self.marks.pop_front();
        }
        let behind = self.marks.partition_point(|mark| mark.bytes <= bytes);
        behind.checked_sub(1).map(|at| self.marks[at].position)
    }

    /// How to make again what is behind the first `bytes` of the stream: where to begin, and the marks
    /// from there to the end. None when that is not known any more, or was never sent.
    pub(super) fn again(&self, bytes: u64) -> Option<(Mark, Vec<Mark>)> {
        if bytes > self.end.bytes {
            return None;
        }
        let behind = self.marks.partition_point(|mark| mark.bytes <= bytes);
        let begin = *self.marks.get(behind.checked_sub(1)?)?;
        Some((begin, self.marks.iter().skip(behind).copied().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = GRAIN_BYTES;

    fn bytes(again: Option<(Mark, Vec<Mark>)>) -> Vec<u64> {
        let (begin, marks) = again.expect("it is known");
        [begin].iter().chain(&marks).map(|mark| mark.bytes).collect()
    }

    #[test]
    fn it_is_known_from_which_record_a_place_is_reached() {
        let mut course = Course::begin(7);
        course.note(FAR, 9, Some(2), MadeOf::Records);
        course.note(14, 9, Some(2), MadeOf::Ping);
        course.note(FAR, 12, Some(3), MadeOf::Records);
        assert_eq!(bytes(course.again(0)), [0, FAR, FAR + 14, 2 * FAR + 14]);
        assert_eq!(bytes(course.again(FAR + 13)), [FAR, FAR + 14, 2 * FAR + 14]);
        let last = course.again(2 * FAR + 14).expect("the end");
        let end = Mark { bytes: 2 * FAR + 14, position: 12, db: Some(3), made_of: MadeOf::Records };
        assert_eq!(last, (end, vec![]));
        assert_eq!(course.again(2 * FAR + 15), None, "it was never sent");
        assert_eq!(course.executed(FAR - 1), Some(7));
        assert_eq!(course.executed(FAR + 14), Some(9));
        assert_eq!(course.executed(u64::MAX >> 1), Some(12));
        assert_eq!(course.needs(), 12);
    }

    #[test]
    fn small_pieces_share_a_mark_and_questions_keep_theirs() {
        let mut course = Course::begin(0);
        for position in 1..=100 {
            course.note(10, position, Some(0), MadeOf::Records);
        }
        assert_eq!(bytes(course.again(0)), [0, 1000]);
        course.note(37, 100, Some(0), MadeOf::Question);
        course.note(10, 101, Some(0), MadeOf::Records);
        course.note(10, 102, Some(0), MadeOf::Records);
        assert_eq!(bytes(course.again(0)), [0, 1000, 1037, 1057]);
        assert_eq!(course.executed(1000), Some(100), "what was asked for is told exactly");
        assert_eq!(course.executed(1036), Some(100));
    }

    #[test]
    fn records_that_say_nothing_move_the_position_only() {
        let mut course = Course::begin(0);
        course.note(FAR, 1, Some(0), MadeOf::Records);
        course.note(0, 5, Some(0), MadeOf::Records);
        assert_eq!(course.end().position, 5);
        assert_eq!(course.executed(FAR), Some(5));
    }

    #[test]
    fn it_is_bounded_and_what_fell_out_is_not_known() {
        let mut course = Course::begin(0);
        for number in 1..=MARKS_MAX as u64 + 10 {
            course.note(FAR, number, Some(0), MadeOf::Records);
        }
        assert_eq!(course.marks.len(), MARKS_MAX);
        assert_eq!(course.again(10 * FAR), None);
        assert_eq!(course.executed(10 * FAR), None);
        assert!(course.again(11 * FAR).is_some());
        assert_eq!(course.needs(), 11);
        // A replica that lost a little of what it had executed still finds its place.
        course.executed(course.end().bytes);
        assert!(course.again(course.end().bytes - BACK_BYTES).is_some());
        assert_eq!(course.again(course.end().bytes - BACK_BYTES - FAR), None);
    }
}
