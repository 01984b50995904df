//! The book of one folder: which content and which names would survive.
//!
//! Below the side folder, which must be on the same file system as the live one:
//!
//! | name | content |
//! |---|---|
//! | `names` | a generation, then inode and name of each file that survives, a line each; replaced by a rename |
//! | `steps-<generation>` | changes of names since then, a line each |
//! | `held/<inode>` | a link to the live file, so that its number is not used again |
//! | `durable/<inode>` | its content that survives |
//! | `lost/<inode>` | numbers of the pages that a failed sync dropped, a line each |
//!
//! A process may be killed between any two calls here, never inside one of another process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::Random;
use crate::mix::{PAGE_BYTES, mix};

type Names = BTreeMap<String, u64>;

/// The live folder and the book of it.
#[derive(Debug)]
pub struct Image {
    live: PathBuf,
    side: PathBuf,
    generation: u64,
    lost: BTreeMap<u64, BTreeSet<u64>>,
}

/// What a loss of power took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Sectors of 512 bytes whose last content was not found.
    pub sectors: u64,
    /// Changes of names that were not made.
    pub steps: u64,
}

/// A change of names that is not synced yet.
#[derive(Debug)]
enum Step {
    Link { inode: u64, name: String },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl Step {
    fn line(&self) -> String {
        match self {
            Self::Link { inode, name } => format!("link {inode} {name}\n"),
            Self::Rename { from, to } => format!("rename {from} {to}\n"),
            Self::Remove { name } => format!("remove {name}\n"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["link", inode, name] => {
                Some(Self::Link { inode: inode.parse().ok()?, name: name.to_owned() })
            }
            ["rename", from, to] => Some(Self::Rename { from: from.to_owned(), to: to.to_owned() }),
            ["remove", name] => Some(Self::Remove { name: name.to_owned() }),
            _ => None,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { inode, name } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

impl Image {
    /// Begins a book in `side`, which is emptied. Everything that is in `live` survives.
    pub fn begin(live: &Path, side: &Path) -> io::Result<Self> {
        if side.exists() {
            fs::remove_dir_all(side)?;
        }
        for folder in ["held", "durable", "lost"] {
            fs::create_dir_all(side.join(folder))?;
        }
        let (live, side) = (live.to_owned(), side.to_owned());
        let mut image = Self { live, side, generation: 0, lost: BTreeMap::new() };
        for (name, inode) in image.listing()? {
            image.hold(inode, &name)?;
            fs::copy(image.live.join(&name), image.durable(inode))?;
        }
        image.sync_folder()?;
        Ok(image)
    }

    /// Goes on with a book.
    pub fn open(live: &Path, side: &Path) -> io::Result<Self> {
        let (live, side) = (live.to_owned(), side.to_owned());
        let mut image = Self { live, side, generation: 0, lost: BTreeMap::new() };
        image.generation = image.survivors()?.0;
        for entry in fs::read_dir(image.side.join("lost"))? {
            let entry = entry?;
            let pages = fs::read_to_string(entry.path())?;
            let pages = pages.lines().filter_map(|page| page.parse().ok()).collect();
            if let Some(inode) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                image.lost.insert(inode, pages);
            }
        }
        Ok(image)
    }

    /// A file was opened that is new, or was emptied.
    pub fn created(&mut self, name: &str) -> io::Result<()> {
        let inode = fs::metadata(self.live.join(name))?.ino();
        self.hold(inode, name)?;
        self.set_lost(inode, BTreeSet::new())?;
        self.log(&Step::Link { inode, name: name.to_owned() })
    }

    /// A file was renamed.
    pub fn renamed(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.log(&Step::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    /// A file was removed.
    pub fn removed(&mut self, name: &str) -> io::Result<()> {
        self.log(&Step::Remove { name: name.to_owned() })
    }

    /// These bytes of a file are about to be written: their pages are dirty again.
    pub fn dirty(&mut self, inode: u64, offset: u64, bytes: u64) -> io::Result<()> {
        let Some(pages) = self.lost.get(&inode).filter(|_| bytes > 0) else { return Ok(()) };
        let page = PAGE_BYTES as u64;
        let written = offset / page..(offset + bytes).div_ceil(page);
        let left: BTreeSet<u64> = pages.iter().copied().filter(|p| !written.contains(p)).collect();
        if left.len() < pages.len() {
            self.set_lost(inode, left)?;
        }
        Ok(())
    }

    /// What was written to a file survives from now on, except what a failed sync dropped.
    pub fn sync_file(&mut self, inode: u64) -> io::Result<()> {
        let lost = self.lost.get(&inode).cloned().unwrap_or_default();
        let pages = self.dirty_pages(inode)?;
        self.write_back(inode, |page| pages.contains(&page) && !lost.contains(&page))
    }

    /// A sync that fails: of the pages that are dirty some are written, the others are dropped. All of
    /// them are clean afterwards.
    pub fn fail_file(&mut self, inode: u64, random: &mut Random) -> io::Result<()> {
        let mut lost = self.lost.get(&inode).cloned().unwrap_or_default();
        let mut written = BTreeSet::new();
        let share = random.below(3) * 450;
        for page in self.dirty_pages(inode)? {
            if !lost.contains(&page) && random.chance(share) {
                written.insert(page);
            } else {
                lost.insert(page);
            }
        }
        self.set_lost(inode, lost)?;
        self.write_back(inode, |page| written.contains(&page))
    }

    /// All names survive as they are.
    pub fn sync_folder(&mut self) -> io::Result<()> {
        let names = self.listing()?;
        let mut lines = vec![(self.generation + 1).to_string()];
        for (name, inode) in &names {
            self.hold(*inode, name)?;
            lines.push(format!("{inode} {name}"));
        }
        File::create(self.steps(self.generation + 1))?;
        fs::write(self.side.join("names.tmp"), lines.join("\n"))?;
        fs::rename(self.side.join("names.tmp"), self.side.join("names"))?;
        let _ = fs::remove_file(self.steps(self.generation));
        self.generation += 1;
        self.forget(&names)
    }

    /// Power is lost and comes back: the live folder holds one of the contents that may be found, and
    /// all of it survives. No process may have it open.
    pub fn lose_power(&mut self, random: &mut Random) -> io::Result<Lost> {
        let (mut lost, names) = self.surviving_names(random)?;
        let mut contents = Vec::new();
        for (name, inode) in &names {
            let (durable, live) = (read(&self.durable(*inode))?, read(&self.held(*inode))?);
            let dropped = self.lost.get(inode);
            let is_lost = |page: u64| dropped.is_some_and(|pages| pages.contains(&page));
            let (found, missing) = mix(&durable, &live, &is_lost, random);
            lost.sectors += missing;
            contents.push((name.clone(), found));
        }
        for name in self.listing()?.keys() {
            fs::remove_file(self.live.join(name))?;
        }
        for (name, content) in contents {
            fs::write(self.live.join(name), content)?;
        }
        *self = Self::begin(&self.live, &self.side)?;
        Ok(lost)
    }

    /// The page cache lets go of pages that a failed sync dropped: readers see what is on the disk.
    /// Gives how many. No process may have the folder open.
    pub fn evict(&mut self, random: &mut Random) -> io::Result<u64> {
        let mut evicted = 0;
        for (inode, pages) in self.lost.clone() {
            let (durable, live) = (read(&self.durable(inode))?, read(&self.held(inode))?);
            let file = OpenOptions::new().write(true).open(self.held(inode))?;
            let mut left = pages.clone();
            for page in pages.iter().filter(|_| random.chance(500)) {
                let from = *page as usize * PAGE_BYTES;
                let to = (from + PAGE_BYTES).min(live.len());
                let mut content = vec![0; to.saturating_sub(from)];
                let there = durable.get(from..durable.len().min(to)).unwrap_or_default();
                content[..there.len()].copy_from_slice(there);
                file.write_all_at(&content, from as u64)?;
                left.remove(page);
                evicted += 1;
            }
            self.set_lost(inode, left)?;
        }
        Ok(evicted)
    }

    /// Names that a loss of power leaves: the steps were made up to one of them, or any of them.
    fn surviving_names(&self, random: &mut Random) -> io::Result<(Lost, Names)> {
        let (_, mut names) = self.survivors()?;
        let steps = fs::read_to_string(self.steps(self.generation))?;
        let steps: Vec<Step> = steps.lines().filter_map(Step::parse).collect();
        let end = random.below(steps.len() as u64 + 1) as usize;
        let any_subset = random.chance(500);
        let mut lost = Lost::default();
        for (index, step) in steps.iter().enumerate() {
            if if any_subset { random.chance(500) } else { index < end } {
                step.apply(&mut names);
            } else {
                lost.steps += 1;
            }
        }
        Ok((lost, names))
    }

    /// Generation and names of what survives.
    fn survivors(&self) -> io::Result<(u64, Names)> {
        let lines = fs::read_to_string(self.side.join("names"))?;
        let mut lines = lines.lines();
        let generation = lines.next().and_then(|line| line.parse().ok());
        let generation =
            generation.ok_or_else(|| io::Error::other("the book has no generation"))?;
        let pair = |line: &str| {
            let (inode, name) = line.split_once(' ')?;
            Some((name.to_owned(), inode.parse().ok()?))
        };
        Ok((generation, lines.filter_map(pair).collect()))
    }

    fn listing(&self) -> io::Result<Names> {
        let mut names = Names::new();
        for entry in fs::read_dir(&self.live)? {
            let entry = entry?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| io::Error::other("a name is not UTF-8"))?;
            names.insert(name, entry.metadata()?.ino());
        }
        Ok(names)
    }

    /// Pages in which a file differs from what survives of it.
    fn dirty_pages(&self, inode: u64) -> io::Result<BTreeSet<u64>> {
        let (durable, live) = (read(&self.durable(inode))?, read(&self.held(inode))?);
        let page = |bytes: &[u8], at: usize| {
            bytes[at.min(bytes.len())..(at + PAGE_BYTES).min(bytes.len())].to_vec()
        };
        let starts = (0..live.len()).step_by(PAGE_BYTES);
        let differing = starts.filter(|at| page(&durable, *at) != page(&live, *at));
        Ok(differing.map(|at| (at / PAGE_BYTES) as u64).collect())
    }

    /// Copies pages of the live file to what survives, and its length.
    fn write_back(&self, inode: u64, is_written: impl Fn(u64) -> bool) -> io::Result<()> {
        let live = read(&self.held(inode))?;
        let options = OpenOptions::new().write(true).create(true).truncate(false).clone();
        let durable = options.open(self.durable(inode))?;
        for (page, content) in live.chunks(PAGE_BYTES).enumerate() {
            if is_written(page as u64) {
                durable.write_all_at(content, (page * PAGE_BYTES) as u64)?;
            }
        }
        durable.set_len(live.len() as u64)
    }

    fn log(&self, step: &Step) -> io::Result<()> {
        let mut steps = OpenOptions::new().append(true).open(self.steps(self.generation))?;
        steps.write_all(step.line().as_bytes())
    }

    fn set_lost(&mut self, inode: u64, pages: BTreeSet<u64>) -> io::Result<()> {
        let path = self.side.join("lost").join(inode.to_string());
        if pages.is_empty() {
            if self.lost.remove(&inode).is_some() {
                fs::remove_file(path)?;
            }
            return Ok(());
        }
        let lines: Vec<String> = pages.iter().map(u64::to_string).collect();
        self.lost.insert(inode, pages);
        fs::write(path, lines.join("\n"))
    }

    /// Keeps the number of a file from being used again.
    fn hold(&self, inode: u64, name: &str) -> io::Result<()> {
        match fs::hard_link(self.live.join(name), self.held(inode)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Lets go of files that have no name any more.
    fn forget(&mut self, names: &Names) -> io::Result<()> {
        let named: BTreeSet<u64> = names.values().copied().collect();
        for entry in fs::read_dir(self.side.join("held"))? {
            let inode = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(inode) = inode.filter(|inode| !named.contains(inode)) {
                self.set_lost(inode, BTreeSet::new())?;
                let _ = fs::remove_file(self.durable(inode));
                fs::remove_file(self.held(inode))?;
            }
        }
        Ok(())
    }

    fn held(&self, inode: u64) -> PathBuf {
        self.side.join("held").join(inode.to_string())
    }

    fn durable(&self, inode: u64) -> PathBuf {
        self.side.join("durable").join(inode.to_string())
    }

    fn steps(&self, generation: u64) -> PathBuf {
        self.side.join(format!("steps-{generation}"))
    }
}

/// The content of a file; nothing if it is not there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests;
