//! What was made of a folder of certificates, made anew whenever the folder changes.
//!
//! Must not: give up what is in use for what cannot be used.

use super::{CertificateError, Folder, Stamp};

type Read<T> = Box<dyn Fn(&Folder) -> Result<T, CertificateError> + Send + Sync>;

/// The newest value that could be made of the folder.
pub struct Watched<T> {
    folder: Folder,
    read: Read<T>,
    value: T,
    /// State of the folder that was looked at last, used or not.
    seen: Stamp,
    /// What was seen could not be used and may be half written: it is read again at every look.
    is_stale: bool,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("value", &self.value).finish_non_exhaustive()
    }
}

impl<T> Watched<T> {
    /// Makes the first value of what is in the folder.
    pub fn load(
        folder: Folder,
        read: impl Fn(&Folder) -> Result<T, CertificateError> + Send + Sync + 'static,
    ) -> Result<Self, CertificateError> {
        // The stamp first: what changes while it is read is noticed at the next look.
        let seen = folder.stamp();
        let value = read(&folder)?;
        Ok(Self { folder, read: Box::new(read), value, seen, is_stale: false })
    }

    /// The value in use.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Looks at the folder, at the price of three looks at the file system while nothing changes.
    /// True when there is a new value.
    ///
    /// # Errors
    /// The folder changed and cannot be used; said once for each change.
    pub fn look(&mut self) -> Result<bool, CertificateError> {
        let stamp = self.folder.stamp();
        if stamp == self.seen && !self.is_stale {
            return Ok(false);
        }
        let is_new = stamp != self.seen;
        self.seen = stamp;
        match (self.read)(&self.folder) {
            Ok(value) => {
                self.value = value;
                self.is_stale = false;
                Ok(true)
            }
            Err(error) => {
                self.is_stale = true;
                if is_new { Err(error) } else { Ok(false) }
            }
        }
    }
}
