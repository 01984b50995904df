//! One module per system: validate and build, nothing else.
