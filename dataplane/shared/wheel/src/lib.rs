//! A hierarchical timing wheel with bounded work per tick.
