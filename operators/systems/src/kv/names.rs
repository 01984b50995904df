//! Names of the children of a KVCluster, and which names leave room for them.

use orrery_runtime::Refusal;

use crate::parts::names;

/// Value of `app.kubernetes.io/name`, and the word of this system in names of children.
pub(super) const SYSTEM: &str = "kv";

/// Longest name of a KVCluster, in bytes: `<name>-kv-<revision>` must fit a label of 63, where
/// the revision has up to 10 characters, and `<name>-kv-headless` is shorter than that.
pub const NAME_BYTES_MAX: usize = names::bytes_max(SYSTEM);

/// Name of most children.
pub fn main(object: &str) -> String {
    names::main(object, SYSTEM)
}

/// Secret with what running processes read again when it changes.
pub fn live(object: &str) -> String {
    format!("{object}-kv-live")
}

/// The pod with this number.
pub fn pod(object: &str, number: i32) -> String {
    format!("{}-{number}", main(object))
}

/// Service for reading and writing.
pub fn read_write(object: &str) -> String {
    format!("{object}-kv-rw")
}

/// Service for reading.
pub fn read_only(object: &str) -> String {
    format!("{object}-kv-ro")
}

/// Service that gives every pod a name of its own.
pub fn headless(object: &str) -> String {
    names::headless(object, SYSTEM)
}

/// Secret with the certificate of the pods.
pub fn identity(object: &str) -> String {
    names::identity(object, SYSTEM)
}

/// Refuses names that cannot be part of the name of a Service or of a label.
pub fn check(object: &str) -> Result<(), Refusal> {
    names::check(object, SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_leaves_room_for_every_child() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(check(&longest), Ok(()));
        for child in [
            main(&longest),
            live(&longest),
            read_write(&longest),
            read_only(&longest),
            headless(&longest),
        ] {
            assert!(child.len() <= 63, "{child}");
        }
    }
}
