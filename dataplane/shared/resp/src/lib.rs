//! The Redis serialization protocol, versions 2 and 3: in-place request parser and reply writer.
//!
//! Two halves that know nothing of each other and do no I/O:
//! [`Decoder`] finds the arguments of one request inside a byte buffer without copying them, and
//! [`Reply`] appends replies to a growable buffer in the protocol version the client asked for.
//! Texts of protocol errors are those of Redis 7.0, because clients and suites match on them.

mod decode;
mod double;
mod inline;
mod reply;

pub use decode::{Decoder, Limits, Parsed, ProtocolError, Span};
pub use double::write_g17;
pub use inline::split_args;
pub use reply::{Deferred, Proto, Reply};
