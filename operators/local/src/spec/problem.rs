//! One thing that is wrong in a file, said so that an editor can jump to it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Line and column, both from 1; 0 where the place is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub file: PathBuf,
    pub place: Place,
    /// Path of the field, such as `spec.resp.port`; empty where it is about the whole document.
    pub field: String,
    /// A sentence without the field's name in front.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.place.line > 0 {
            write!(f, ":{}:{}", self.place.line, self.place.column)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compiler_message() {
        let problem = Problem {
            file: "kv.yaml".into(),
            place: Place { line: 7, column: 12 },
            field: "spec.resp.port".into(),
            message: "70000 is above the highest value 65535".into(),
        };
        let text = "kv.yaml:7:12: spec.resp.port: 70000 is above the highest value 65535";
        assert_eq!(problem.to_string(), text);
    }

    #[test]
    fn a_problem_without_a_place_names_the_file_alone() {
        let problem = Problem {
            file: "kv.yaml".into(),
            place: Place::default(),
            field: String::new(),
            message: "failed to read".into(),
        };
        assert_eq!(problem.to_string(), "kv.yaml: failed to read");
    }
}
