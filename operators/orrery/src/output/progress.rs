//! A bar that grows on the terminal; off a terminal, a line whenever what is done changes.

use std::io::{IsTerminal as _, Write as _};

const WIDTH: usize = 30;
/// Longer texts would wrap, and a wrapped line cannot be written over.
const TEXT_CHARS: usize = 60;

/// How far something is, on standard error.
pub(crate) struct Progress {
    is_terminal: bool,
    said: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), said: String::new() }
    }

    /// Shows `percent` of a hundred and what is being done.
    pub(crate) fn show(&mut self, percent: u64, text: &str) {
        if !self.is_terminal {
            if !text.is_empty() && text != self.said {
                text.clone_into(&mut self.said);
                eprintln!("{text}");
            }
            return;
        }
        eprint!("\r\x1b[K{}", line(percent, text));
        let _ = std::io::stderr().flush();
    }

    /// Takes the bar away.
    pub(crate) fn end(&mut self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }
}

fn line(percent: u64, text: &str) -> String {
    let percent = percent.min(100) as usize;
    let full = percent * WIDTH / 100;
    let text: String = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS).collect();
    format!("[{}{}] {percent:>3} % {text}", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_one_line_of_bounded_length() {
        assert_eq!(line(0, "begins"), format!("[{}]   0 % begins", "-".repeat(30)));
        assert_eq!(line(50, ""), format!("[{}{}]  50 % ", "#".repeat(15), "-".repeat(15)));
        let long = line(1000, &"x\n".repeat(1000));
        assert!(long.starts_with(&format!("[{}] 100 %", "#".repeat(30))) && long.len() < 110);
    }
}
