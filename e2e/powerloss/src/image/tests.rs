//! The book by itself, without a library that is preloaded.

use std::collections::BTreeSet;

use super::*;

const SEEDS: u64 = 60;

struct Stage {
    _folder: tempfile::TempDir,
    image: Image,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let live = folder.path().join("live");
        fs::create_dir(&live).expect("a folder");
        let image = Image::begin(&live, &folder.path().join("side")).expect("a book");
        Self { _folder: folder, image }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.image.live.join(name)
    }

    /// Writes as a process would whose calls are watched.
    fn write(&mut self, name: &str, content: &[u8]) -> u64 {
        let is_new = !self.path(name).exists();
        let options = OpenOptions::new().write(true).create(true).truncate(false).clone();
        let file = options.open(self.path(name)).expect("opened");
        if is_new {
            self.image.created(name).expect("noted");
        }
        let inode = file.metadata().expect("metadata").ino();
        self.image.dirty(inode, 0, content.len() as u64).expect("noted");
        file.write_all_at(content, 0).expect("written");
        inode
    }

    fn lose_power(&mut self, seed: u64) -> Lost {
        // By way of the files, as another process would.
        self.image = Image::open(&self.image.live, &self.image.side).expect("a book");
        self.image.lose_power(&mut Random::new(seed)).expect("power is lost")
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }
}

#[test]
fn what_was_synced_is_found_and_nothing_else_is_sure() {
    let mut names = BTreeSet::new();
    let mut contents = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut stage = Stage::new();
        let inode = stage.write("kept", &[1; 5000]);
        stage.image.sync_file(inode).expect("synced");
        stage.image.sync_folder().expect("synced");
        stage.write("kept", &[2; 5000]);
        let unnamed = stage.write("unnamed", &[3; 600]);
        stage.image.sync_file(unnamed).expect("synced");
        stage.lose_power(seed);
        let kept = stage.content("kept").expect("its name was synced");
        assert_eq!(kept.len(), 5000);
        assert!(kept.iter().all(|byte| [1, 2].contains(byte)));
        contents.insert(kept);
        let unnamed = stage.content("unnamed");
        assert!(unnamed.as_ref().is_none_or(|content| content == &[3; 600]));
        names.insert(unnamed);
    }
    assert_eq!(names.len(), 2, "a name that was not synced is found and is not");
    assert!(contents.len() > 10, "{} contents", contents.len());
}

#[test]
fn a_rename_is_made_in_whole_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut stage = Stage::new();
        for (name, content) in [("a", b"a"), ("b", b"b")] {
            let inode = stage.write(name, content);
            stage.image.sync_file(inode).expect("synced");
        }
        stage.image.sync_folder().expect("synced");
        fs::rename(stage.path("a"), stage.path("b")).expect("renamed");
        stage.image.renamed("a", "b").expect("noted");
        stage.lose_power(seed);
        seen.insert((stage.content("a"), stage.content("b")));
    }
    let before = (Some(b"a".to_vec()), Some(b"b".to_vec()));
    assert_eq!(seen, BTreeSet::from([before, (None, Some(b"a".to_vec()))]));
}

#[test]
fn what_a_failed_sync_dropped_only_survives_when_written_again() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..SEEDS {
        let mut stage = Stage::new();
        let inode = stage.write("file", &[1; 4096]);
        stage.image.sync_file(inode).expect("synced");
        stage.image.sync_folder().expect("synced");
        stage.write("file", &[2; 4096]);
        stage.image.fail_file(inode, &mut Random::new(seed)).expect("failed");
        // The next sync succeeds and changes nothing.
        stage.image.sync_file(inode).expect("synced");
        assert_eq!(stage.content("file"), Some(vec![2; 4096]), "readers still see it");
        let again = seed % 2 == 0;
        if again {
            stage.write("file", &[2; 4096]);
            stage.image.sync_file(inode).expect("synced");
        }
        stage.lose_power(seed);
        match stage.content("file").expect("its name was synced") {
            content if content == [2; 4096] => kept += 1,
            content => {
                assert!(!again && content == [1; 4096]);
                lost += 1;
            }
        }
    }
    assert!(lost > 0 && kept > SEEDS / 2, "{lost} lost, {kept} kept");
}

#[test]
fn an_evicted_page_shows_what_is_on_the_disk() {
    let mut evicted = 0;
    for seed in 0..SEEDS {
        let mut stage = Stage::new();
        let inode = stage.write("file", &[1; 4096]);
        stage.image.sync_file(inode).expect("synced");
        stage.write("file", &[2; 4096]);
        stage.image.fail_file(inode, &mut Random::new(seed)).expect("failed");
        let pages = stage.image.evict(&mut Random::new(seed)).expect("evicted");
        let shown = if pages == 0 { 2 } else { 1 };
        assert_eq!(stage.content("file"), Some(vec![shown; 4096]));
        evicted += pages;
    }
    assert!(evicted > 0);
}

#[test]
fn a_file_that_was_removed_without_a_sync_may_come_back_with_its_content() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut stage = Stage::new();
        let inode = stage.write("old", b"old");
        stage.image.sync_file(inode).expect("synced");
        stage.image.sync_folder().expect("synced");
        fs::remove_file(stage.path("old")).expect("removed");
        stage.image.removed("old").expect("noted");
        // Would be given the number of the one that was removed.
        assert_ne!(stage.write("new", b"new"), inode);
        stage.lose_power(seed);
        seen.insert(stage.content("old"));
    }
    assert_eq!(seen, BTreeSet::from([None, Some(b"old".to_vec())]));
}
