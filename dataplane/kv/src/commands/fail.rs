//! Why a command was refused: the error texts of Redis 7.0, word for word.

use std::borrow::Cow;

/// The text of an error reply, without the leading `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail(pub Cow<'static, str>);

/// What a command's handler returns.
pub type Done = Result<(), Fail>;

impl Fail {
    /// A fixed text.
    pub const fn text(text: &'static str) -> Self {
        Fail(Cow::Borrowed(text))
    }

    /// A text made for this case.
    pub fn owned(text: String) -> Self {
        Fail(Cow::Owned(text))
    }
}

/// The key holds another type.
pub const WRONG_TYPE: Fail =
    Fail::text("WRONGTYPE Operation against a key holding the wrong kind of value");
/// A malformed option list.
pub const SYNTAX: Fail = Fail::text("ERR syntax error");
/// Not an integer, or beyond 64 bits.
pub const NOT_AN_INTEGER: Fail = Fail::text("ERR value is not an integer or out of range");
/// Not a floating point number.
pub const NOT_A_FLOAT: Fail = Fail::text("ERR value is not a valid float");
/// The source key does not exist.
pub const NO_SUCH_KEY: Fail = Fail::text("ERR no such key");
/// A count or range outside what is possible.
pub const OUT_OF_RANGE: Fail = Fail::text("ERR value is out of range");
/// A count that must not be negative.
pub const NOT_POSITIVE: Fail = Fail::text("ERR value is out of range, must be positive");
/// Source and destination are one key.
pub const SAME_OBJECT: Fail = Fail::text("ERR source and destination objects are the same");
/// No such database.
pub const DB_OUT_OF_RANGE: Fail = Fail::text("ERR DB index is out of range");
/// An index past the end.
pub const INDEX_OUT_OF_RANGE: Fail = Fail::text("ERR index out of range");
/// A string longer than `proto-max-bulk-len`.
pub const TOO_LONG: Fail =
    Fail::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
/// An addition beyond 64 bits.
pub const OVERFLOW: Fail = Fail::text("ERR increment or decrement would overflow");
/// A sum that is no number.
pub const NOT_FINITE: Fail = Fail::text("ERR increment would produce NaN or Infinity");
/// A cursor that is no number.
pub const BAD_CURSOR: Fail = Fail::text("ERR invalid cursor");
/// `maxmemory` is reached and nothing may be evicted.
pub const OUT_OF_MEMORY: Fail =
    Fail::text("OOM command not allowed when used memory > 'maxmemory'.");

/// The wrong number of arguments for a command.
pub fn wrong_arity(command: &str) -> Fail {
    Fail::owned(format!("ERR wrong number of arguments for '{command}' command"))
}

/// A deadline that is not representable or not positive.
pub fn bad_expire(command: &str) -> Fail {
    Fail::owned(format!("ERR invalid expire time in '{command}' command"))
}
