//! A key as a command names it, with what was looked up about it once.

/// A key of one database.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// Database number.
    pub db: u16,
    /// Number of its namespace.
    pub space: u16,
    /// Hash of the name.
    pub hash: u64,
    /// The name.
    pub name: &'a [u8],
}

impl Key<'_> {
    /// A hash over database and name, for sets of keys across databases.
    #[inline]
    pub fn mark(&self) -> u64 {
        self.hash ^ u64::from(self.db).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
