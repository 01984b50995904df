//! The list of planted bugs. A line that begins with `== ` names one; `file:` and `why:` follow, then
//! lines with `-` in front that stand in the file exactly once, and lines with `+` that replace them.
//! Lines with `#` in front, and empty ones between two bugs, say nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// One planted bug.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mutation {
    pub(super) name: String,
    /// Relative to the folder of the crate.
    pub(super) file: PathBuf,
    /// Why it is a bug.
    pub(super) why: String,
    /// Whole lines of the file.
    pub(super) old: String,
    pub(super) new: String,
}

impl Mutation {
    /// The content of its file with the bug. An error if the lines are not there exactly once.
    pub(super) fn apply(&self, folder: &Path) -> Result<String> {
        let file = folder.join(&self.file);
        let whole = fs::read_to_string(&file)
            .with_context(|| format!("{}: failed to read {}", self.name, file.display()))?;
        let (lines, old): (Vec<&str>, Vec<&str>) =
            (whole.lines().collect(), self.old.lines().collect());
        let places = lines.windows(old.len()).enumerate().filter(|(_, window)| *window == old);
        let places: Vec<usize> = places.map(|(at, _)| at).collect();
        let [at] = places[..] else {
            bail!(
                "{}: its lines are {} times in {}; bring the list up to date",
                self.name,
                places.len(),
                self.file.display()
            );
        };
        let [before, after] = [&lines[..at], &lines[at + old.len()..]]
            .map(|lines| lines.iter().flat_map(|line| [*line, "\n"]).collect::<String>());
        Ok(before + &self.new + &after)
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<Mutation>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    parse(&text).with_context(|| format!("failed to read {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Mutation>> {
    let mut all: Vec<Mutation> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("== ") {
            all.push(Mutation { name: name.to_owned(), ..Mutation::default() });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = index + 1;
        let Some(mutation) = all.last_mut() else { bail!("line {number} belongs to no mutation") };
        if let Some(file) = line.strip_prefix("file: ") {
            mutation.file = file.into();
        } else if let Some(why) = line.strip_prefix("why: ") {
            why.clone_into(&mut mutation.why);
        } else if let Some(old) = line.strip_prefix('-') {
            mutation.old.extend([old, "\n"]);
        } else if let Some(new) = line.strip_prefix('+') {
            mutation.new.extend([new, "\n"]);
        } else {
            bail!("line {number} is none of `== `, `file: `, `why: `, `-`, `+` and `#`");
        }
    }
    for mutation in &all {
        let is_whole = !mutation.file.as_os_str().is_empty()
            && !mutation.why.is_empty()
            && !mutation.old.is_empty()
            && mutation.old != mutation.new;
        ensure!(is_whole, "{} needs a file, a why, and lines that differ", mutation.name);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
# What for.
== forgets the sync
file: a.rs
why: a record is lost with the power
-    sync();
+    ();
";

    #[test]
    fn a_list_is_read_and_applied_once() {
        let all = parse(LIST).expect("it is well formed");
        assert_eq!((all.len(), all[0].name.as_str()), (1, "forgets the sync"));
        let folder = tempfile::tempdir().expect("a folder");
        let write = |text: &str| fs::write(folder.path().join("a.rs"), text).expect("room");
        write("fn f() {\n    sync();\n}\n");
        assert_eq!(all[0].apply(folder.path()).expect("once"), "fn f() {\n    ();\n}\n");
        write("fn f() {\n    not_sync();\n}\n");
        assert!(all[0].apply(folder.path()).is_err(), "it is gone");
        write("fn f() {\n    sync();\n    sync();\n}\n");
        assert!(all[0].apply(folder.path()).is_err(), "it is ambiguous");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for wrong in [
            "-x\n",
            "== a\nnonsense\n",
            "== a\nfile: f\n-x\n+y\n",
            "== a\nfile: f\nwhy: w\n-x\n+x\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
