//! The harness against itself: what other crates' tests rely on.

mod cluster {
    mod control_plane;
    mod processes;
    mod real_nodes;
    mod toy_node;
}
