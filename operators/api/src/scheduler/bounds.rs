//! What numbers and texts of a Schedule may be at most: its schema, the engine (for jobs of its own API,
//! which no API server checks), and the adoption of CronJobs ask the same.

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

/// Jitter, and the window in which the engine may move a run.
pub const MOVED_SECONDS_MAX: i64 = DAY;
/// How late a run may start or end, and how old a missed one may be that is made up for.
pub const LATE_SECONDS_MAX: i64 = YEAR;
/// How long an attempt may take.
pub const TIMEOUT_SECONDS_MAX: i64 = DAY;
pub const PRIORITY_MAX: i32 = 9;
pub const LIMIT_RUNS_MAX: i64 = 1_000_000_000;
/// Attempts of a run.
pub const ATTEMPTS_MAX: i32 = 100;
/// Wait before the second attempt, and the longest between two.
pub const BACKOFF_SECONDS_MAX: i64 = DAY;
pub const LONGEST_BACKOFF_SECONDS_MAX: i64 = 7 * DAY;
/// Missed runs that are made up for.
pub const CATCH_UP_RUNS_MAX: i32 = 100_000;
/// Runs that a history shows.
pub const KEEP_RUNS_MAX: i32 = 1_000_000;
/// Words of a command and of its arguments, and variables; characters of a word.
pub const WORDS_MAX: usize = 256;
pub const WORD_CHARS_MAX: usize = 4_096;
