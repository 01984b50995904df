//! The harness against itself: what other crates' tests rely on.

mod cluster {
    mod control_plane;
    mod processes;
    mod toy_node;
}
