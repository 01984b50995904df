//! The resource kinds of Orrery: pure types, conditions, reasons and shared spec blocks.
