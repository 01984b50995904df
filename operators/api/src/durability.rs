//! What survives what: the durability classes, from weakest to strongest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far an acknowledged write has come. Ordered: a stronger class includes the weaker ones.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[schemars(inline)]
pub enum Durability {
    /// In the memory of the process: lost when the process ends.
    Memory,
    /// Handed to the operating system: survives the process, lost with the machine's power.
    Os,
    /// Forced to the disk: survives power loss, lost with the volume.
    #[default]
    Disk,
    /// On more than one machine: survives the loss of a volume.
    Replicated,
}

#[cfg(test)]
mod tests {
    use super::Durability::{Disk, Memory, Os, Replicated};

    #[test]
    fn stronger_classes_compare_greater() {
        assert!(Memory < Os && Os < Disk && Disk < Replicated);
    }
}
