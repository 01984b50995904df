//! The Redis serialization protocol, versions 2 and 3: in-place request parser and reply writer.
