//! Names of the children of a KVCluster, and which names leave room for them.

use orrery_api::Reason;
use orrery_runtime::Refusal;

/// Longest name of a KVCluster, in bytes: `<name>-kv-<revision>` must fit a label of 63, where
/// the revision has up to 10 characters, and `<name>-kv-headless` is shorter than that.
pub const NAME_BYTES_MAX: usize = 63 - "-kv-".len() - 10;

/// Name of most children.
pub fn main(object: &str) -> String {
    format!("{object}-kv")
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
    format!("{object}-kv-headless")
}

/// Secret with the certificate of the pods.
pub fn identity(object: &str) -> String {
    format!("{object}-kv-identity")
}

/// Refuses names that cannot be part of the name of a Service or of a label.
pub fn check(object: &str) -> Result<(), Refusal> {
    if object.len() > NAME_BYTES_MAX {
        return Err(Refusal::field(
            Reason::NameTooLong,
            "metadata.name",
            format!(
                "the name has {} characters; at most {NAME_BYTES_MAX} leave room for the names of \
                 the child objects: make an object with a shorter name",
                object.len()
            ),
        ));
    }
    if !is_dns_label(object) || !object.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(Refusal::field(
            Reason::InvalidSpec,
            "metadata.name",
            "the name becomes part of host names: it must begin with a letter and have only \
             lower-case letters, digits and hyphens",
        ));
    }
    Ok(())
}

/// Whether a text is a label of a host name (RFC 1123), in lower case.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || c == '-')
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
        // The label `controller-revision-hash` of a StatefulSet's pods.
        assert!(format!("{}-{}", main(&longest), "x".repeat(10)).len() <= 63);
        let refusal = check(&"x".repeat(NAME_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(refusal.reason, Reason::NameTooLong);
    }

    #[test]
    fn names_that_no_service_can_have_are_refused() {
        for name in ["1st", "a.b", "-a", "a-", "A", ""] {
            assert_eq!(check(name).map_err(|r| r.reason), Err(Reason::InvalidSpec), "{name}");
        }
    }
}
