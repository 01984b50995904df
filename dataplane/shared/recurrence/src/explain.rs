//! A rule in words.

use crate::Rule;

impl Rule {
    /// The rule in words, such as `at 07:00 on Monday to Friday, Europe/Paris time`.
    pub fn explain(&self) -> String {
        String::new()
    }
}
