//! Names of children, and which names of objects leave room for them.

use orrery_api::Reason;
use orrery_runtime::Refusal;

/// Longest name of an object, in bytes: `<name>-<system>-<revision>` must fit a label of 63, where the
/// revision has up to 10 characters, and no suffix of a child is longer.
pub(crate) const fn bytes_max(system: &str) -> usize {
    63 - "--".len() - system.len() - 10
}

/// Name of most children.
pub(crate) fn main(object: &str, system: &str) -> String {
    format!("{object}-{system}")
}

/// Service that gives every pod a name of its own.
pub(crate) fn headless(object: &str, system: &str) -> String {
    format!("{object}-{system}-headless")
}

/// Secret with the certificate of the pods.
pub(crate) fn identity(object: &str, system: &str) -> String {
    format!("{object}-{system}-identity")
}

/// Refuses names that cannot be part of the name of a Service or of a label.
pub(crate) fn check(object: &str, system: &str) -> Result<(), Refusal> {
    let bytes_max = bytes_max(system);
    if object.len() > bytes_max {
        return Err(Refusal::field(
            Reason::NameTooLong,
            "metadata.name",
            format!(
                "the name has {} characters; at most {bytes_max} leave room for the names of \
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
        for system in ["kv", "scheduler"] {
            let longest = "x".repeat(bytes_max(system));
            assert_eq!(check(&longest, system), Ok(()));
            for child in [
                main(&longest, system),
                headless(&longest, system),
                identity(&longest, system),
                // The label `controller-revision-hash` of a StatefulSet's pods.
                format!("{}-{}", main(&longest, system), "x".repeat(10)),
            ] {
                assert!(child.len() <= 63, "{child}");
            }
            let refusal = check(&"x".repeat(bytes_max(system) + 1), system).unwrap_err();
            assert_eq!(refusal.reason, Reason::NameTooLong);
        }
    }

    #[test]
    fn names_that_no_service_can_have_are_refused() {
        for name in ["1st", "a.b", "-a", "a-", "A", ""] {
            assert_eq!(check(name, "kv").map_err(|r| r.reason), Err(Reason::InvalidSpec), "{name}");
        }
    }
}
