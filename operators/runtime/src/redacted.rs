//! A value that never shows itself: not in logs, not in errors, not in panics.
//!
//! Must not: implement `Display` or `Serialize`.

use std::fmt;

/// Wraps secret content. Reading it takes the word `expose`, which is easy to find in review.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The content.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_secret_does_not_show_in_debug_output() {
        let token = Redacted::new("hunter2".to_owned());
        assert_eq!(format!("{:?}", Some(&token)), "Some(<redacted>)");
        assert_eq!(token.expose(), "hunter2");
    }
}
