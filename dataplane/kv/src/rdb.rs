//! The RDB format, version 10: what Redis 7.0 writes and reads.
//!
//! Snapshots are RDB streams so that any tool of that world can read them. [`Writer`] writes the
//! plain encodings; [`Reader`] reads those and the packed ones a real Redis prefers. Neither knows
//! the machine or the journal. Format: `rdb.c`, `rdb.h`, `listpack.c`, `intset.c` of Redis 7.0.

mod lzf;
mod packed;
mod read;
mod write;

pub use read::Reader;
pub use write::{Shape, Writer};

/// Version in the header.
pub const VERSION: u32 = 10;

const OP_FUNCTION2: u8 = 0xf5;
const OP_MODULE_AUX: u8 = 0xf7;
const OP_IDLE: u8 = 0xf8;
const OP_FREQ: u8 = 0xf9;
const OP_AUX: u8 = 0xfa;
const OP_RESIZE_DB: u8 = 0xfb;
const OP_EXPIRE_MS: u8 = 0xfc;
const OP_EXPIRE_SECONDS: u8 = 0xfd;
const OP_SELECT_DB: u8 = 0xfe;
const OP_EOF: u8 = 0xff;

const TYPE_STRING: u8 = 0;
const TYPE_LIST: u8 = 1;
const TYPE_SET: u8 = 2;
const TYPE_HASH: u8 = 4;
const TYPE_SET_INTSET: u8 = 11;
const TYPE_HASH_LISTPACK: u8 = 16;
const TYPE_LIST_QUICKLIST_2: u8 = 18;

const ENC_INT8: u8 = 0;
const ENC_INT16: u8 = 1;
const ENC_INT32: u8 = 2;
const ENC_LZF: u8 = 3;

/// A value as the format sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
}

/// What a stream holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A named field of the header; unknown names are skipped by every reader.
    Aux { name: Vec<u8>, value: Vec<u8> },
    Key {
        db: u32,
        key: Vec<u8>,
        /// Milliseconds since 1970-01-01 UTC.
        expires_ms: Option<i64>,
        value: Value,
    },
}

/// Failed to read a stream.
#[derive(Debug, thiserror::Error)]
pub enum RdbError {
    #[error("failed to read the stream: {0}")]
    Io(#[from] std::io::Error),
    #[error("failed to understand the stream: it does not begin with REDIS and a version")]
    NotRdb,
    #[error("failed to understand the stream: version {0} is newer than {VERSION}")]
    Newer(u32),
    #[error("failed to load key {key:?}: values of type {kind} are not supported")]
    UnsupportedType { key: String, kind: u8 },
    #[error("failed to load the stream: opcode {0} is not supported")]
    UnsupportedOpcode(u8),
    #[error("failed to understand the stream: {0}")]
    Malformed(&'static str),
    #[error("failed to verify the stream: checksum {found:016x} instead of {expected:016x}")]
    Checksum { found: u64, expected: u64 },
}
