//! The write-ahead journal: segments, group commit, recovery, snapshots, epochs.
