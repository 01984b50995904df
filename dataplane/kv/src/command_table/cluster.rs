//! Facts about CLUSTER and the commands of its clients, all handled by the server layer, as
//! `COMMAND INFO` and `COMMAND DOCS` of Redis 7.0.15 tell them.

use super::{CommandSpec, Flags, KEYLESS};

/// Subcommands that change who has which slots.
const ASSIGNS: Flags = Flags::ADMIN.union(Flags::STALE).union(Flags::NO_ASYNC_LOADING);

/// A subcommand that anybody may call.
const fn told(
    index: usize,
    name: &'static str,
    full_name: &'static str,
    arity: i32,
    flags: Flags,
) -> CommandSpec {
    CommandSpec {
        index,
        name,
        full_name,
        arity,
        flags,
        acl: &["@slow"],
        since: "3.0.0",
        group: "cluster",
        complexity: "O(1)",
        ..KEYLESS
    }
}

/// A subcommand for administrators.
const fn admin(
    index: usize,
    name: &'static str,
    full_name: &'static str,
    arity: i32,
    flags: Flags,
) -> CommandSpec {
    let acl = &["@admin", "@slow", "@dangerous"];
    CommandSpec { acl, ..told(index, name, full_name, arity, flags) }
}

/// What a connection says about itself.
const fn says(
    index: usize,
    name: &'static str,
    flags: Flags,
    summary: &'static str,
) -> CommandSpec {
    let acl = &["@fast", "@connection"];
    CommandSpec { acl, summary, ..told(index, name, name, 1, flags) }
}

const READS: Flags = Flags::LOADING.union(Flags::STALE).union(Flags::FAST);

pub(super) const COMMANDS: &[CommandSpec] = &[
    says(170, "asking", Flags::FAST, "Ask for a slot that is being taken over"),
    CommandSpec {
        summary: "A container for commands about the cluster",
        complexity: "Depends on subcommand.",
        subcommands: SUBCOMMANDS,
        ..told(171, "cluster", "cluster", -2, Flags::NONE)
    },
    says(199, "readonly", READS, "Read from replicas as well"),
    says(200, "readwrite", READS, "Read from masters only, as at first"),
];

/// Subcommands of CLUSTER.
const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Give slots to this node",
        complexity: "O(N) where N is the number of slots",
        ..admin(172, "addslots", "cluster|addslots", -3, ASSIGNS)
    },
    CommandSpec {
        since: "7.0.0",
        summary: "Give ranges of slots to this node",
        complexity: "O(N) where N is the number of slots in the ranges",
        ..admin(173, "addslotsrange", "cluster|addslotsrange", -4, ASSIGNS)
    },
    CommandSpec {
        summary: "Raise the configuration epoch of this node",
        tips: &["nondeterministic_output"],
        ..admin(174, "bumpepoch", "cluster|bumpepoch", 2, ASSIGNS)
    },
    CommandSpec {
        summary: "Count the nodes that say a node has failed",
        complexity: "O(N) where N is the number of reports",
        tips: &["nondeterministic_output"],
        ..admin(
            175,
            "count-failure-reports",
            "cluster|count-failure-reports",
            3,
            Flags::ADMIN.union(Flags::STALE),
        )
    },
    CommandSpec {
        summary: "Count the keys of a slot",
        complexity: "O(N) where N is the number of keys of this node",
        ..told(176, "countkeysinslot", "cluster|countkeysinslot", 3, Flags::STALE)
    },
    CommandSpec {
        summary: "Take slots from this node",
        complexity: "O(N) where N is the number of slots",
        ..admin(177, "delslots", "cluster|delslots", -3, ASSIGNS)
    },
    CommandSpec {
        since: "7.0.0",
        summary: "Take ranges of slots from this node",
        complexity: "O(N) where N is the number of slots in the ranges",
        ..admin(178, "delslotsrange", "cluster|delslotsrange", -4, ASSIGNS)
    },
    CommandSpec {
        summary: "Make this replica the master",
        ..admin(179, "failover", "cluster|failover", -2, ASSIGNS)
    },
    CommandSpec {
        summary: "Take all slots from this node",
        ..admin(180, "flushslots", "cluster|flushslots", 2, ASSIGNS)
    },
    CommandSpec { summary: "Forget a node", ..admin(181, "forget", "cluster|forget", 3, ASSIGNS) },
    CommandSpec {
        summary: "Get keys of a slot",
        complexity: "O(N) where N is the number of keys of this node",
        tips: &["nondeterministic_output"],
        ..told(182, "getkeysinslot", "cluster|getkeysinslot", 4, Flags::STALE)
    },
    CommandSpec {
        since: "5.0.0",
        summary: "Show the subcommands",
        ..told(183, "help", "cluster|help", 2, Flags::LOADING.union(Flags::STALE))
    },
    CommandSpec {
        summary: "Tell the state of the cluster",
        tips: &["nondeterministic_output"],
        ..told(184, "info", "cluster|info", 2, Flags::STALE)
    },
    CommandSpec {
        summary: "Tell the slot of a key",
        complexity: "O(N) where N is the length of the key",
        ..told(185, "keyslot", "cluster|keyslot", 3, Flags::STALE)
    },
    CommandSpec {
        since: "7.0.0",
        summary: "List the connections to other nodes",
        complexity: "O(N) where N is the number of nodes",
        tips: &["nondeterministic_output"],
        ..told(186, "links", "cluster|links", 2, Flags::STALE)
    },
    CommandSpec {
        summary: "Add a node to the cluster",
        ..admin(187, "meet", "cluster|meet", -4, ASSIGNS)
    },
    CommandSpec {
        summary: "Tell the id of this node",
        ..told(188, "myid", "cluster|myid", 2, Flags::STALE)
    },
    CommandSpec {
        summary: "List the nodes of the cluster, a line each",
        complexity: "O(N) where N is the number of nodes",
        tips: &["nondeterministic_output"],
        ..told(189, "nodes", "cluster|nodes", 2, Flags::STALE)
    },
    CommandSpec {
        since: "5.0.0",
        summary: "List the replicas of a master",
        tips: &["nondeterministic_output"],
        ..admin(190, "replicas", "cluster|replicas", 3, Flags::ADMIN.union(Flags::STALE))
    },
    CommandSpec {
        summary: "Make this node the replica of a master",
        ..admin(191, "replicate", "cluster|replicate", 3, ASSIGNS)
    },
    CommandSpec {
        summary: "Forget the cluster",
        complexity: "O(N) where N is the number of nodes",
        ..admin(192, "reset", "cluster|reset", -2, ASSIGNS.union(Flags::NOSCRIPT))
    },
    CommandSpec {
        summary: "Write the configuration of the cluster to disk",
        ..admin(193, "saveconfig", "cluster|saveconfig", 2, ASSIGNS)
    },
    CommandSpec {
        summary: "Set the configuration epoch of a new node",
        ..admin(194, "set-config-epoch", "cluster|set-config-epoch", 3, ASSIGNS)
    },
    CommandSpec {
        summary: "Give a slot to a node",
        ..admin(195, "setslot", "cluster|setslot", -4, ASSIGNS)
    },
    CommandSpec {
        since: "7.0.0",
        summary: "List the shards with their slots and nodes",
        complexity: "O(N) where N is the number of nodes",
        tips: &["nondeterministic_output"],
        ..told(196, "shards", "cluster|shards", 2, Flags::STALE)
    },
    CommandSpec {
        summary: "List the replicas of a master",
        tips: &["nondeterministic_output"],
        deprecated_since: "5.0.0",
        replaced_by: "`CLUSTER REPLICAS`",
        ..admin(197, "slaves", "cluster|slaves", 3, Flags::ADMIN.union(Flags::STALE))
    },
    CommandSpec {
        summary: "List ranges of slots with the nodes that have them",
        complexity: "O(N) where N is the number of nodes",
        tips: &["nondeterministic_output"],
        deprecated_since: "7.0.0",
        replaced_by: "`CLUSTER SHARDS`",
        ..told(198, "slots", "cluster|slots", 2, Flags::STALE)
    },
];
