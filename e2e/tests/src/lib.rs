//! The product as a user meets it, one file per system.
